"""The parts of the HDF5 output: layout of tables, the file, and what a crash leaves."""
