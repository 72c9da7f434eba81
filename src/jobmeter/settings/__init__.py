"""Declared options become frozen settings; every fault is told at once, with file and line."""
