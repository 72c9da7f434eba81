"""jobmeter measures every job, user and node of a compute facility, keeps the account, and reports it."""

__version__ = "0.1.0"
