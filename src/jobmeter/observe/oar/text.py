"""The texts of OAR 2, whose programs take bytes for Latin-1 letters and encode them once more on the way in."""

from __future__ import annotations

_TIMES = 3


def mended(text: str) -> str:
    """The text that a person typed.

    OAR 2.5 and 2.6 are in Perl and leave the encoding of texts to chance: `é`, typed as UTF-8, stands in the database
    as `Ã©`, and oarstat prints it as those two bytes or, where another text of its answer needs it, as four. A text
    that is no such thing is left alone. Verified with OAR 2.5.9 on PostgreSQL.
    """
    for _ in range(_TIMES):
        if text.isascii():
            break
        try:
            text = text.encode("latin-1").decode("utf-8")
        except UnicodeError:
            break
    return text
