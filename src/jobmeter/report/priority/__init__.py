"""Priorities of groups by what they provided: numbers from totals, and the commands that set them."""
