"""What `condor_history` says, how it is asked, how it becomes records. The job source is `batch/htcondor.py`."""
