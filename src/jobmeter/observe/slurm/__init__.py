"""What `sacct` says, and how it becomes records. Pure parts only; the job source is `observe/batch/slurm.py`."""
