"""Settings as an author declares them, for the tests of the loader."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from jobmeter.settings.fault import WrongValue


class Colour(Enum):
    """An enumeration."""

    RED = "red"
    BLUE = "blue"


class Database(Struct, frozen=True, kw_only=True):
    """A table with a required key."""

    host: Annotated[str, Meta(description="Where it is.")] = "localhost"
    port: Annotated[int, Meta(ge=1, le=65535, description="Its port.")] = 5432
    password: Annotated[str, Meta(description="Its password.", extra={"secret": True})]


class Loose(Struct, frozen=True):
    """A table that takes unknown keys as notes."""

    unknown_keys: ClassVar[str] = "note"

    name: str = "x"


class Score(Struct, frozen=True, kw_only=True):
    """An element of a list."""

    name: Annotated[str, Meta(min_length=1)]
    value: Annotated[float, Meta(ge=0)] = 1.0


class File(Struct, frozen=True, tag_field="to", tag="file"):
    """One of two shapes."""

    path: Path


class Mail(Struct, frozen=True, tag_field="to", tag="mail"):
    """The other."""

    address: str


class Everything(Struct, frozen=True, kw_only=True):
    """One key of every type."""

    database: Database | None = None
    loose: Loose = Loose()
    name: str = "n"
    count: int = 1
    ratio: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    on: bool = False
    since: datetime | None = None
    level: Annotated[Literal["info", "debug"], Meta(extra={"any_case": True})] = "info"
    colour: Colour = Colour.RED
    folder: Path = Path("/var/lib")
    hosts: Annotated[tuple[str, ...], Meta(extra={"scalar_ok": True})] = ()
    strict: list[int] = []
    scores: tuple[Score, ...] = ()
    limits: dict[str, int] = {}
    either: int | str | None = None
    where: File | Mail | None = None
    code: Annotated[str, Meta(pattern="^[a-z]+$", max_length=4)] = "a"
    step: Annotated[int, Meta(multiple_of=5)] = 5


class Span(Struct, frozen=True):
    """Keys that must fit one another."""

    low: int = 0
    high: int = 10

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise WrongValue("high", "is below low", "swap them")
        if self.low == 13:
            raise ValueError("thirteen is refused")
