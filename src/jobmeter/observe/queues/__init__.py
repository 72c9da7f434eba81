"""Jobs in the queue and jobs that have just finished, by HTCondor's or Slurm's commands."""
