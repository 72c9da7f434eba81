"""Frozen values and pure arithmetic: no input, no output, no clock."""
