"""The files of a job's control group, both versions: which there are, and what their text says."""
