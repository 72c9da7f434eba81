"""Reads what the machine and its batch systems know; yields values, sends nothing."""
