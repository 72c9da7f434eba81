"""Everything on one machine: what is found, the files, the family of processes."""
