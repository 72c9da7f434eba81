"""The rules of a settings file, in the words of AUDITOR's Slurm collector: which columns become what, and when."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from jobmeter.observe.pattern import NoPattern, compiled
from jobmeter.settings.fault import WrongValue

_COLUMN = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:[:/][A-Za-z]+)*", re.ASCII)
"""`MaxRSS`, `CPU/Mem` and the like; scontrol has `ReqB:S:C:T`."""

Key = Annotated[str, Meta(description="A column of the source; `sacct --helpformat` lists those of Slurm.")]


def check_column(key: str) -> None:
    """Raises WrongValue for what cannot be the name of a column."""
    if _COLUMN.fullmatch(key) is None:
        raise WrongValue("key", f"{key!r} is not the name of a column")


class KeyType(Enum):
    """How the text of a column is read."""

    INTEGER = "Integer"
    """A whole number; a size with a suffix (`5K`) in bytes."""
    INTEGER_MEGA = "IntegerMega"
    """A size in MiB: `4G` is 4096, a bare number is MiB already."""
    TIME = "Time"
    """A duration in the time unit."""
    STRING = "String"
    """The text as it is."""
    DATE_TIME = "DateTime"
    """A moment, printed as `2023-11-07 09:14:01 UTC`."""
    ID = "Id"
    """The text before the first `(`."""
    JSON = "Json"
    """A JSON object of texts, in double or single quotes; each of its keys becomes a meta key."""


class OnlyIf(Struct, frozen=True):
    """A condition on a column."""

    unknown_keys: ClassVar[str] = "note"

    key: Key
    matches: Annotated[str, Meta(description="A regular expression that is found anywhere in the column's text.")]

    def __post_init__(self) -> None:
        check_column(self.key)
        try:
            compiled(self.matches)
        except NoPattern as fault:
            raise WrongValue("matches", str(fault)) from None


class Score(Struct, frozen=True):
    """A factor that a component is given."""

    unknown_keys: ClassVar[str] = "note"

    name: Annotated[str, Meta(description="Name of the score.")]
    value: Annotated[float, Meta(ge=0, description="Value of the score.")]
    only_if: Annotated[OnlyIf | None, Meta(description="Given only where this holds.")] = None


class SiteRule(Struct, frozen=True):
    """A site, and the jobs that are its."""

    unknown_keys: ClassVar[str] = "note"

    name: Annotated[str, Meta(description="The site's name, kept as meta site_id.")]
    only_if: Annotated[OnlyIf | None, Meta(description="The first site whose condition holds is taken.")] = None


class MetaRule(Struct, frozen=True):
    """A column that becomes a meta value."""

    unknown_keys: ClassVar[str] = "note"

    name: Annotated[str, Meta(description="The meta key; not used with the type Json.")]
    key: Key
    key_type: Annotated[KeyType, Meta(description="How the column is read.")] = KeyType.INTEGER
    key_allow_empty: Annotated[bool, Meta(description="Whether the column may be empty: the meta key is left out.")] = (
        False
    )
    default_value: Annotated[
        str | int | float | None, Meta(description="Used where the column is empty or unreadable.")
    ] = None
    only_if: Annotated[OnlyIf | None, Meta(description="Given only where this holds.")] = None

    def __post_init__(self) -> None:
        check_column(self.key)


class ComponentRule(Struct, frozen=True):
    """A column that becomes a component."""

    unknown_keys: ClassVar[str] = "note"

    name: Annotated[str, Meta(description="Name of the component.")]
    key: Key
    key_type: Annotated[KeyType, Meta(description="How the column is read.")] = KeyType.INTEGER
    key_allow_empty: Annotated[bool, Meta(description="Accepted for AUDITOR's sake: an empty column is no number.")] = (
        False
    )
    default_value: Annotated[
        Annotated[int, Meta(ge=0)] | None, Meta(description="Used where the column is empty or unreadable.")
    ] = None
    scores: Annotated[tuple[Score, ...], Meta(description="Factors of the component.")] = ()
    only_if: Annotated[OnlyIf | None, Meta(description="Given only where this holds.")] = None

    def __post_init__(self) -> None:
        check_column(self.key)


class Rules(Struct, frozen=True):
    """All rules by which the entries of a source become records."""

    sites: tuple[SiteRule, ...]
    meta: tuple[MetaRule, ...]
    components: tuple[ComponentRule, ...]

    def conditions(self) -> Iterator[OnlyIf]:
        """Every condition, also more than once."""
        given = [site.only_if for site in self.sites]
        given.extend(rule.only_if for rule in self.meta)
        given.extend(component.only_if for component in self.components)
        given.extend(score.only_if for component in self.components for score in component.scores)
        yield from (condition for condition in given if condition is not None)

    def columns(self) -> Iterator[str]:
        """Every column that a rule names, also more than once."""
        yield from (rule.key for rule in self.meta)
        yield from (component.key for component in self.components)
        yield from (condition.key for condition in self.conditions())
