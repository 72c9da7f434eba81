"""Regular expressions of settings files that were written for Rust's `regex` crate.

The library is imported at the first pattern: it takes longer to import than the whole Slurm epilog may take to start.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import regex


class NoPattern(ValueError):  # noqa: N818 - the name says the fact
    """The text is no regular expression; the message says why."""


def compiled(pattern: str) -> regex.Pattern[str]:
    """The pattern, whose searches take a `timeout`. Raises NoPattern."""
    import regex  # noqa: PLC0415 - see the top

    try:
        return regex.compile(re.sub(r"(?<!\\)((?:\\\\)*)\\z", r"\1\\Z", pattern))
    except regex.error as fault:
        raise NoPattern(f"is not a regular expression: {fault}") from None
