"""What OAR says of its jobs, how it is asked, how that becomes records. The job source is `observe/batch/oar.py`."""
