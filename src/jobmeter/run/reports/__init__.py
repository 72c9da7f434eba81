"""The kinds of `jobmeter report`, a file each with `ABOUT`, `options` and `perform`."""
