"""Sinks for samples: a file per output, found by being here."""
