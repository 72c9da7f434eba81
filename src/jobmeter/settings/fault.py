"""What can be wrong with settings, said with its place."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct


class Place(Struct, frozen=True):
    """Where a value stands: a file with a line counted from 1, or an environment variable without one."""

    origin: str
    line: int | None = None

    def __str__(self) -> str:
        return self.origin if self.line is None else f"{self.origin}:{self.line}"


class Fault(Struct, frozen=True):
    """One fault: `place` as text, `key` the dotted path ("" for the file as a whole), `reason` a phrase.

    `mend` says what to write instead, where that is known. A secret value stands in none of them.
    """

    place: str
    key: str
    reason: str
    mend: str | None = None

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        mend = f"; {self.mend}" if self.mend else ""
        return f"{self.place}: {key}{self.reason}{mend}"


class SettingsFaulty(ValueError):  # noqa: N818 - the name says the fact
    """Settings cannot be used as they are; `faults` are all that was found, in the order of the file."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = tuple(faults)


class WrongValue(ValueError):  # noqa: N818
    """Raised by `__post_init__` of a settings Struct: the value under `key` does not fit the others, for `reason`.

    `key` is relative to the Struct. A plain ValueError does as well where no single key is to blame.
    """

    def __init__(self, key: str, reason: str, mend: str | None = None) -> None:
        super().__init__(f"{key}: {reason}")
        self.key = key
        self.reason = reason
        self.mend = mend
