"""Records as python-auditor shows them: builder methods change the object and return it, properties are read only."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, Self

import msgspec

from jobmeter.model.record import AMOUNT_MAX, name_fault
from jobmeter.wire.auditor import parse_time

_SECOND = timedelta(seconds=1)
_EPSILON = 2.0**-52


class Score:
    """A factor that weighs a component."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, name: str, value: float) -> None:
        self._name = checked_name(name, "score")
        if not isinstance(value, int | float):
            raise TypeError(f"must be real number, not {type(value).__name__}")
        if value < 0:
            _invalid("score value", f"Invalid value: {value:g}")
        self._value = float(value)

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def value(self) -> float:
        """Its value, 0 or more."""
        return self._value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Score):
            return NotImplemented
        close = math.isclose(self._value, other._value, rel_tol=math.sqrt(_EPSILON), abs_tol=_EPSILON)
        return self._name == other._name and close


class Component:
    """One accounted quantity."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, name: str, amount: int) -> None:
        self._name = checked_name(name, "component")
        self._amount = operator.index(amount)
        if self._amount > AMOUNT_MAX:
            raise OverflowError("Python int too large to convert to C long")
        if self._amount < 0:
            _invalid("component amount", f"Invalid amount: {amount}")
        self._scores: list[Score] = []

    def with_score(self, score: Score) -> Self:
        """Append a score."""
        self._scores.append(_of(Score, score))
        return self

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def amount(self) -> int:
        """How much, in the unit that goes with the name."""
        return self._amount

    @property
    def scores(self) -> list[Score]:
        """Its scores."""
        return list(self._scores)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Component):
            return NotImplemented
        return (self._name, self._amount, self._scores) == (other._name, other._amount, other._scores)


class Meta:
    """Words about a record: each key with a list of values."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self) -> None:
        self._lists: dict[str, list[str]] = {}

    def insert(self, key: str, value: Sequence[str]) -> Self:
        """Set the list of a key."""
        if isinstance(value, str):
            raise TypeError("Can't extract `str` to `Vec`")
        self._lists[_of(str, key)] = [_of(str, item) for item in value]
        return self

    def get(self, key: str) -> list[str] | None:
        """The list of a key, or None."""
        found = self._lists.get(key)
        return None if found is None else list(found)

    def __eq__(self, other: object) -> bool:
        return self._lists == other._lists if isinstance(other, Meta) else NotImplemented


class Record:
    """What one job used. Times are given aware, in exactly `datetime.timezone.utc`, and come back naive, in UTC."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, record_id: str, start_time: datetime) -> None:
        self._record_id: str = _of(str, record_id)
        self._start: datetime | None = utc(start_time)
        self._stop: datetime | None = None
        self._runtime: int | None = None
        self._meta: Meta | None = None
        self._components: list[Component] | None = []

    def with_meta(self, meta: Meta) -> Self:
        """Set the meta."""
        self._meta = _of(Meta, meta)
        return self

    def with_component(self, component: Component) -> Self:
        """Append a component."""
        self._components = [*(self._components or ()), _of(Component, component)]
        return self

    def with_stop_time(self, stop_time: datetime) -> Self:
        """Set the stop time, and with it the runtime."""
        self._stop = utc(stop_time)
        if self._start is not None:
            self._runtime = int((self._stop - self._start) / _SECOND)
        return self

    @property
    def record_id(self) -> str:
        """The id."""
        return self._record_id

    @property
    def meta(self) -> Meta | None:
        """The meta, or None."""
        return self._meta

    @property
    def components(self) -> list[Component] | None:
        """The components."""
        return None if self._components is None else list(self._components)

    @property
    def start_time(self) -> datetime | None:
        """When the job started."""
        return None if self._start is None else self._start.replace(tzinfo=None)

    @property
    def stop_time(self) -> datetime | None:
        """When it stopped, or None."""
        return None if self._stop is None else self._stop.replace(tzinfo=None)

    @property
    def runtime(self) -> int | None:
        """Whole seconds from start to stop, or None."""
        return self._runtime

    def to_json(self) -> str:
        """The record as JSON, its keys in alphabetical order."""
        return msgspec.json.encode(dict(sorted({**self._plain(), "runtime": self._runtime}.items()))).decode()

    def body(self) -> bytes:
        """The record as it is sent. Raises RuntimeError for a name that no server takes."""
        checked_name(self._record_id, "record_id")
        for key, values in ({} if self._meta is None else self._meta._lists).items():
            for name in (key, *values):
                checked_name(name, "meta")
        return msgspec.json.encode(self._plain())

    def _plain(self) -> dict[str, Any]:
        meta = None if self._meta is None else dict(sorted(self._meta._lists.items()))
        return {
            "record_id": self._record_id,
            "meta": meta,
            "components": [_plain(component) for component in self._components or ()],
            "start_time": _written(self._start),
            "stop_time": _written(self._stop),
        }

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if isinstance(other, Record) else NotImplemented

    def __repr__(self) -> str:
        return f"Record {self.to_json()}"


def read_record(value: Mapping[str, Any]) -> Record:
    """The record in an answer: only its id is needed. Raises ValueError, KeyError, TypeError and RuntimeError."""
    found = Record.__new__(Record)
    found._record_id = _of(str, value["record_id"])
    found._start, found._stop = (_read(value.get(key)) for key in ("start_time", "stop_time"))
    found._runtime = value.get("runtime")
    components, lists = value.get("components"), value.get("meta")
    found._components = None if components is None else [_component(item) for item in components]
    found._meta = None if lists is None else _meta(lists)
    return found


def utc(moment: datetime) -> datetime:
    """The moment, if it is aware and its zone is exactly UTC's. Raises TypeError and ValueError as python-auditor."""
    if not isinstance(moment, datetime):
        raise TypeError(f"'{type(moment).__name__}' object is not an instance of 'datetime'")
    if moment.tzinfo is None:
        raise TypeError("expected a datetime with non-None tzinfo")
    if moment.tzinfo is not UTC:
        raise ValueError("expected datetime.timezone.utc")
    return moment


def checked_name(name: str, what: str) -> str:
    """The name, if AUDITOR's rule allows it; NUL passes, and is refused by the server. Raises RuntimeError."""
    text: str = _of(str, name)
    if name_fault(text.replace("\0", "x")) is not None:
        _invalid(f"{what} name", f"Invalid Name: {text}")
    return text


def _invalid(what: str, cause: str) -> NoReturn:
    raise RuntimeError(f"Failed to parse {what}.\n\nCaused by:\n    Validating input failed: {cause}")


def _of(kind: type[Any], value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"'{type(value).__name__}' object is not an instance of '{kind.__name__}'")
    return value


def _plain(component: Component) -> dict[str, Any]:
    scores = [{"name": score.name, "value": score.value} for score in component.scores]
    return {"amount": component.amount, "name": component.name, "scores": scores}


def _component(value: Mapping[str, Any]) -> Component:
    made = Component(value["name"], value["amount"])
    for score in value["scores"]:
        made.with_score(Score(score["name"], score["value"]))
    return made


def _meta(lists: Mapping[str, Iterable[str]]) -> Meta:
    made = Meta()
    for key, values in lists.items():
        made.insert(key, list(values))
    return made


def _read(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)


def _written(moment: datetime | None) -> str | None:
    return None if moment is None else shortest(moment).replace("+00:00", "Z")


def shortest(moment: datetime) -> str:
    """The moment with no, three or six digits after the point, as AUDITOR writes it."""
    micro = moment.microsecond
    return moment.isoformat(timespec="seconds" if micro == 0 else "microseconds" if micro % 1000 else "milliseconds")
