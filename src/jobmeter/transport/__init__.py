"""The ZeroMQ ends between nodes and gatherers: sockets, keys, and what waits for the other side."""
