"""The gatherer, put together: the gate, the journal, the outputs and the sums of jobs."""
