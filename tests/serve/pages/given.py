"""A facility in a database: jobs of three users in two groups at two sites, over three months before the clock."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

from jobmeter.model.access import Grant, Limits, Role
from jobmeter.model.record import Component, Record
from jobmeter.model.token import Token
from jobmeter.serve.access import AccessSettings
from jobmeter.serve.secret import digest_of
from jobmeter.serve.settings import ServeSettings
from jobmeter.serve.table import NOTHING_BESIDE, Beside
from jobmeter.store.open import open_store
from jobmeter.store.tokens import Tokens
from tests.serve.live import Answer, FixedClock, Live, live

NOW = FixedClock().now()
HOSTILE = '"><script>alert(1)</script>'
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
JOBS = 120


def job(number: int, **changes: object) -> Record:
    """Two cores for an hour, half of which were used; a job ended every 12 hours."""
    stop = NOW - timedelta(hours=12 * number + 1)
    fields: dict[str, object] = {
        "record_id": f"slurm-{number}",
        "components": (
            Component("Cores", 2, ()),
            Component("TotalCPU", 3600, ()),
            Component("Energy", 3_600_000, ()),
        ),
        "start_time": stop - timedelta(hours=1),
        "stop_time": stop,
        "meta": {
            "site_id": (f"SITE-{number % 2}",),
            "group_id": (f"group{number % 2}",),
            "user_id": (("alice", "bob", HOSTILE)[number % 3],),
        },
    }
    return Record(**{**fields, **changes})  # type: ignore[arg-type]


@contextmanager
def facility(folder: Path, records: list[Record] | None = None, beside: Beside = NOTHING_BESIDE) -> Iterator[Live]:
    """A server over these jobs in SQLite; tokens "all" and "site" exist, the second for the readers of SITE-1."""
    address = f"sqlite:///{folder / 'jobs.db'}"
    store = open_store(address, migrate=True)
    tokens = Tokens(address)
    try:
        store.put([job(number) for number in range(JOBS)] if records is None else records)
        moment = datetime(2024, 1, 1, tzinfo=UTC)
        everything = Grant(frozenset({Role.READ, Role.ADMINISTER, Role.CORRECT}))
        one_site = Grant(frozenset({Role.READ}), Limits(sites=("SITE-1",)))
        for name, grant in (("all", everything), ("site", one_site)):
            tokens.add(Token(name, (grant,), moment), digest_of(name.encode()))
        settings = ServeSettings(access=AccessSettings(required=True))
        with live(store, settings, tokens, beside=beside) as running:
            yield running
    finally:
        tokens.close()
        store.close()


def seen(server: Live, path: str, who: str = "all") -> Answer:
    """The page, as `who` sees it."""
    return server.ask("GET", path, headers={**HTML, "authorization": f"Bearer {who}"})


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"} and self.rows:
            self.rows[-1].append("")
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        if tag in {"td", "th"}:
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.rows[-1][-1] += data


def rows(answer: Answer) -> list[list[str]]:
    """The texts of all table rows."""
    parser = _Text()
    parser.feed(answer.body.decode())
    return [[" ".join(cell.split()) for cell in row] for row in parser.rows]


def tags(answer: Answer) -> list[str]:
    """The elements, as a parser reads them."""
    parser = _Text()
    parser.feed(answer.body.decode())
    return parser.tags


def link(answer: Answer, text: str, unseen: str = "") -> str:
    """The address behind the link with this text, from `/`; `unseen` is what is only read out of it."""
    more = f'(?:<span class="unseen">){re.escape(unseen)}<' if unseen else "<"
    found = re.search(rf'<a href="([^"]*)"[^>]*>{re.escape(text)}{more}', answer.body.decode())
    assert found is not None, text
    return "/" + unescape(found[1]).lstrip("./")
