"""The server, put together: its settings, sockets and workers, and what works beside it."""
