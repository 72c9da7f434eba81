"""A command of our own that is measured as a job: its control group, its processes, its end."""
