"""Reports: what is asked of the account for a period, and what becomes of the answers. Pure."""
