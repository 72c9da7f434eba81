"""Counting of hardware and software events by the kernel."""
