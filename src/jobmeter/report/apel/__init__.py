"""The messages of APEL, the accounting of EGI: summaries, individual jobs, and counts to check them with."""
