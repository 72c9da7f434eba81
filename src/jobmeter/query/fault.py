"""What is wrong with a query string."""

from __future__ import annotations

_SHOWN_CODE_POINTS = 80


class BadQuery(ValueError):  # noqa: N818 - what it is, not that it is an error
    """A query string that asks nothing: `key` is the key as it was written (or ""), `reason` a phrase.

    The text is one sentence that names both. Where AUDITOR answers with a fixed wording for the same fault, the text
    contains it.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{key}: {reason}" if key else reason)
        self.key = key
        self.reason = reason


def shown(text: str) -> str:
    """`text` cut to a length that an answer can carry."""
    return text if len(text) <= _SHOWN_CODE_POINTS else f"{text[:_SHOWN_CODE_POINTS]}..."
