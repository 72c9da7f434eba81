"""What the kernel tells of single tasks by its interface taskstats, and how it is added up for a job."""
