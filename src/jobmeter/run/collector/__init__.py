"""Collectors, put together: the daemon, the hook of an epilog, what both say of themselves."""
