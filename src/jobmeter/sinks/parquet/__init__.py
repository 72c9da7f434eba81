"""The parts of the Parquet output: rows in memory, and the files that are made of them."""
