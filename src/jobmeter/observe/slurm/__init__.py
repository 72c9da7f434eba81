"""What `sacct` says, how it is asked, and how it becomes records. The job source is `observe/batch/slurm.py`."""
