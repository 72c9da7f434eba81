"""Sections of the facility documents: a file per section, found by being here."""
