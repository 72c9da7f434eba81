"""Parameters of a query string, each once, each checked."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from urllib.parse import parse_qsl

from jobmeter.model.facility import Span

_TEXT_MAX = 255


class BadParameter(ValueError):  # noqa: N818 - the name says the fact
    """A parameter cannot be used; `name` is which."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name


class Parameters:
    """The parameters of one request at the moment `now`. Raises BadParameter for one that is there twice."""

    def __init__(self, query: bytes, now: datetime) -> None:
        self._now = now
        self._values: dict[str, str] = {}
        self._asked: set[str] = set()
        for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
            if name in self._values:
                raise BadParameter(name, "is there twice")
            self._values[name] = value

    def is_given(self, name: str) -> bool:
        """Whether it is there, be it empty."""
        return name in self._values

    def begun(self, prefix: str) -> list[str]:
        """What stands behind `prefix` in the names that begin with it: boxes of a form that are ticked."""
        names = [name for name in self._values if name.startswith(prefix)]
        self._asked.update(names)
        return [name.removeprefix(prefix) for name in names]

    def text(self, name: str, most: int = _TEXT_MAX) -> str | None:
        """A text of at most so many characters, or None when it is not given or empty."""
        value = self._taken(name) or None
        if value is not None and (len(value) > most or "\0" in value):
            raise BadParameter(name, "is too long, or holds a NUL")
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """One of the choices, the first by default."""
        value = self._taken(name)
        if value not in (None, *choices):
            raise BadParameter(name, f"is none of {', '.join(choices)}")
        return choices[0] if value is None else value

    def number(self, name: str, default: int | None, most: int) -> int | None:
        """A whole number from 1 on."""
        value = self._taken(name)
        if value is None:
            return default
        if not (value.isascii() and value.isdigit() and len(value) <= 19 and 1 <= int(value) <= most):
            raise BadParameter(name, f"is no whole number from 1 to {most}")
        return int(value)

    def moment(self, name: str) -> datetime | None:
        """A moment in ISO 8601 with a zone, or a day (UTC)."""
        value = self._taken(name)
        if value is None:
            return None
        try:
            # A plus sign in a query string stands for a blank.
            found = datetime.fromisoformat(value.replace(" ", "+"))
        except ValueError:
            raise BadParameter(name, "is no moment such as 2024-01-31T12:00:00Z, and no day") from None
        if found.tzinfo is None:
            if len(value) > len("2024-01-31"):
                raise BadParameter(name, "has no zone")
            found = found.replace(tzinfo=UTC)
        return found.astimezone(UTC)

    def span(self, default: timedelta, most: timedelta) -> Span:
        """`since` and `until`, by default the last time up to now."""
        until = self.moment("until") or self._now
        since = self.moment("since") or until - default
        if not since < until:
            raise BadParameter("since", "is not before until")
        if until - since > most:
            raise BadParameter("since", f"is more than {most.days} days before until")
        return Span(since, until)

    def span_if_given(self) -> Span | None:
        """`since` and `until` when one of them is given."""
        if "since" not in self._values and "until" not in self._values:
            self._asked |= {"since", "until"}
            return None
        return self.span(timedelta(days=36500), timedelta(days=73000))

    def days(self, default: int, most: int) -> tuple[date, date]:
        """`since` and `until` as days, both of them in."""
        span = self.span(timedelta(days=default), timedelta(days=most))
        return span.start.date(), (span.stop - timedelta(microseconds=1)).date()

    def require_known(self) -> None:
        """Raises BadParameter for a parameter that nobody asked for."""
        for name in self._values:
            if name not in self._asked:
                raise BadParameter(name, f"is unknown; there are: {', '.join(sorted(self._asked))}")

    def _taken(self, name: str) -> str | None:
        self._asked.add(name)
        return self._values.get(name)
