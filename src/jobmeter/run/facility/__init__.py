"""Facility documents, put together: settings, the plan of a run, the run, and what keeps names out of the log."""
