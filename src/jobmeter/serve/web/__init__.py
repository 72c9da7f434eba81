"""The frame of all pages: what a page is, how it is shown and to whom, and what browsers are told about it."""
