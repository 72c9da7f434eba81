"""Reporting to APEL, put together: the account on one side, the outbox and the messaging service on the other."""
