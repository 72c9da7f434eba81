"""What can be wrong with a sample store."""

from __future__ import annotations


class Damaged(Exception):  # noqa: N818 - the name says the fact
    """A piece of a file does not agree with its checksum or its form; the message names file and place."""


class StoreTaken(Exception):  # noqa: N818
    """Another process writes this store already. Reading it is possible at any time."""
