"""Which jobs a reader looks at: readable fields of a form on one side, the filter language on the other."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode

from msgspec import Struct

from jobmeter.query.pairs import pairs
from jobmeter.serve.parameters import BadParameter, Parameters
from jobmeter.serve.web.figures import iso

DAYS_DEFAULT = 30
ROWS = (50, 100, 200)
MORE_MAX = 4000
CURSOR_MAX = 8192

FACETS: Mapping[str, tuple[str, str]] = {
    "user": ("user_id", "user"),
    "group": ("group_id", "group"),
    "site": ("site_id", "site"),
}
"""The meta keys that may name each, the newer one first."""

ORDERS = ("-stop_time", "stop_time", "-start_time", "start_time", "-runtime", "runtime", "record_id", "-record_id")
"""How the rows may be sorted; with a minus the largest first."""

_OWN = frozenset({"limit", "cursor", "columns", "sort_by"})


class Selection(Struct, frozen=True):
    """The fields of the form. `more` is in the filter language; `longer` is the least wall time in minutes."""

    record_id: str | None = None
    user: str | None = None
    group: str | None = None
    site: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    longer: int | None = None
    more: str | None = None
    order: str = ORDERS[0]

    @property
    def facets(self) -> dict[str, str]:
        """The people and places that are asked for."""
        return {name: value for name in FACETS if (value := getattr(self, name)) is not None}

    def filters(self, keys: Mapping[str, str]) -> str:
        """The conditions in the filter language; `keys` has the meta key that is to be looked at for each facet."""
        said = [(f"meta[{keys[name]}][c][0]", value) for name, value in self.facets.items()]
        if self.record_id is not None:
            said.append(("record_id", self.record_id))
        if self.since is not None:
            said.append(("stop_time[gte]", iso(self.since)))
        if self.until is not None:
            said.append(("stop_time[lt]", iso(self.until)))
        if self.longer is not None:
            said.append(("runtime[gte]", str(self.longer * 60)))
        return "&".join([urlencode(said, safe="[]:"), *([plain(self.more)] if self.more else [])]).strip("&")

    def sorting(self) -> str:
        """The order in the filter language."""
        return f"sort_by[{'desc' if self.order.startswith('-') else 'asc'}]={self.order.lstrip('-')}"

    def fields(self) -> dict[str, str]:
        """The fields as they stand in an address of the page. An absent day is written, or the default would count."""
        given = {
            "record_id": self.record_id,
            **self.facets,
            "since": "" if self.since is None else iso(self.since),
            "until": None if self.until is None else iso(self.until),
            "longer": None if self.longer is None else str(self.longer),
            "more": self.more,
            "order": None if self.order == ORDERS[0] else self.order,
        }
        return {name: value for name, value in given.items() if value is not None}


def plain(more: str) -> str:
    """Conditions as a person writes them, as bytes of an address: brackets and signs stay, all else is encoded."""
    return quote(more.strip().strip("?&"), safe="=&[]%+.:,*-_~")


def selection_of(given: Parameters, now: datetime) -> Selection:
    """The selection that the fields of a form say. Raises BadParameter.

    Without a word about time it is the last DAYS_DEFAULT days, so that a question stays small; an empty `since` says
    that all time is meant.
    """
    more = given.text("more", MORE_MAX)
    record_id = given.text("record_id", CURSOR_MAX)
    _check(more)
    timed = given.is_given("since") or given.is_given("until") or record_id is not None or "stop_time" in (more or "")
    since = given.moment("since") if given.text("since") else None
    return Selection(
        record_id=record_id,
        user=given.text("user", MORE_MAX),
        group=given.text("group", MORE_MAX),
        site=given.text("site", MORE_MAX),
        since=since if timed else midnight(now) - timedelta(days=DAYS_DEFAULT),
        until=given.moment("until") if given.text("until") else None,
        longer=given.number("longer", None, 10**8) if given.text("longer") else None,
        more=more,
        order=given.choice("order", ORDERS),
    )


def midnight(moment: datetime) -> datetime:
    """The beginning of the day."""
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def _check(more: str | None) -> None:
    for pair in pairs(plain(more)) if more else ():
        if pair.path[0] in _OWN:
            raise BadParameter("more", f"{pair.path[0]} has a field of its own")
