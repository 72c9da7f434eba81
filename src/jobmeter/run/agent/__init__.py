"""The node agent, put together: flags, sources, the loop, where its batches go."""
