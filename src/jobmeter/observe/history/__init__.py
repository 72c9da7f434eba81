"""How an accounting that is asked by time is read on and on: a cursor, overlaps, sweeps, slices."""
