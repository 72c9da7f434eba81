"""Names from records, shown to people: nothing in them drives a terminal, turns the reading direction or hides."""

from __future__ import annotations


def visible(text: str) -> str:
    """`text` with all that could drive a terminal, or turn the reading direction, written as escapes."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
