"""Durable spool, retry policy and the pump; knows sinks only by their contract."""
