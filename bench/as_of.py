"""The account as it was, beside the account as it is; and counts by a chosen meta key.

    python -m bench.as_of --records 1000000                                  # SQLite in a temporary folder
    python -m bench.as_of --records 1000000 --database postgresql://…        # an EMPTY database, filled by this

Half of the records come before the instant and half after it; of the first half one of a hundred is corrected and one
of a thousand is withdrawn after it. Every answer as of the instant is compared with the one that was given then.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from functools import partial
from itertools import islice

from msgspec.structs import replace

from bench.records import FIRST_STOP, replicated, site_name
from jobmeter.model.question import Bound, MetaCondition, Op, Question, Scope
from jobmeter.model.record import Record, microseconds
from jobmeter.model.total import TotalQuestion
from jobmeter.model.version import Edit
from jobmeter.query.totals import parse_totals
from jobmeter.store.address import sqlite_path
from jobmeter.store.open import ArchivingStore, open_store

ALL = Scope.everything()
BATCH = 1000
ASKS = 20
THEN_US = 2_000_000_000_000_000
EDIT = Edit("bench", "measured")
TOTALS = {
    "site x month: count, runtime": "group_by=site_id,month&sum=count,runtime",
    "voms x month: Cores*runtime": "group_by=voms,month&sum=Cores*runtime",
}
KEY = "voms"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print one line a row."""
    parser = argparse.ArgumentParser(prog="bench.as_of", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=100_000, metavar="N")
    parser.add_argument("--database", metavar="URL", help="default: SQLite in a temporary folder")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="jobmeter-bench-") as folder:
        url = arguments.database or f"sqlite:///{folder}/store.sqlite"
        store = open_store(url, migrate=True)
        try:
            if store.counts()[""]:
                print("the database is not empty", file=sys.stderr)
                return 2
            print(f"{'SQLite' if sqlite_path(url) else 'PostgreSQL'}, {arguments.records:,} records")
            measure(store, arguments.records)
            count(store, arguments.records)
        finally:
            store.close()
    return 0


def measure(store: ArchivingStore, count: int) -> None:
    """Fill, ask, go on, and ask as of then."""
    given = replicated(count)
    store.now = lambda: THEN_US - 1
    changed = list(_filled(store, islice(given, count // 2), count // 2))
    questions = {name: parse_totals(query, ALL) for name, query in TOTALS.items()}
    then = {name: store.totals(question) for name, question in questions.items()}
    streamed = _streamed(store, Question(ALL))
    page, known = _page(), changed[0].record_id
    first = store.page(page, 1 << 23).bodies
    one = store.one(known, ALL)
    store.now = lambda: THEN_US + 1
    list(_filled(store, given, count - count // 2))
    for number, record in enumerate(changed):
        if number % 10:
            store.correct(replace(record, meta={**(record.meta or {}), "site_id": (site_name(1),)}), EDIT)
        else:
            store.withdraw(record.record_id, EDIT)
    while store.fold():
        pass
    now_seconds, as_of_seconds = (
        _timed(partial(_streamed, store, Question(ALL, as_of_us=moment_us))) for moment_us in (None, THEN_US)
    )
    assert _streamed(store, Question(ALL, as_of_us=THEN_US)) == streamed
    _row("stream all, of now", count / now_seconds, "records/s")
    _row("stream all, as of then", streamed / as_of_seconds, "records/s")
    assert store.page(replace(page, as_of_us=THEN_US), 1 << 23).bodies == first
    _ask("first 100 of a site and month, of now", lambda: store.page(page, 1 << 23))
    _ask("first 100 of a site and month, as of then", lambda: store.page(replace(page, as_of_us=THEN_US), 1 << 23))
    assert store.one(known, ALL, THEN_US) == one
    _ask("one by id, as of then", lambda: store.one(known, ALL, THEN_US))
    for name, question in questions.items():
        asked = TotalQuestion(replace(question.where, as_of_us=THEN_US), question.group_by, question.measures)
        began = time.process_time()
        seconds = _timed(partial(store.totals, asked))
        spent = time.process_time() - began
        assert store.totals(asked) == then[name]
        _row(
            f"total as of then: {name}",
            seconds * 1000,
            "ms",
            f"{spent * 1e6 / streamed:.1f} us of this process a record",
        )


def count(store: ArchivingStore, count: int) -> None:
    """Choose a key, and read its counts."""
    began = time.process_time()
    seconds = _timed(lambda: store.counted.choose([KEY]))
    spent = time.process_time() - began
    _row("records counted by a new meta key", count / seconds, "records/s", f"{spent * 1e6 / count:.1f} us a record")
    _ask("counts by a meta key, read", lambda: store.counted.of(KEY))
    _ask("counts by site, read", lambda: store.counts("site"))


def _filled(store: ArchivingStore, given: Iterator[Record], count: int) -> Iterator[Record]:
    """Stores records; those that are to be changed later."""
    for number in range(0, count, BATCH):
        batch = list(islice(given, min(BATCH, count - number)))
        store.put(batch)
        yield from batch[50::100]
    while store.fold():
        pass


def _page() -> Question:
    low, high = (microseconds(FIRST_STOP + timedelta(days=days)) for days in (0, 30))
    site = (MetaCondition("site_id", (site_name(7),)),)
    return Question(ALL, stop_time=(Bound(Op.GTE, low), Bound(Op.LT, high)), meta=site, limit=100)


def _streamed(store: ArchivingStore, question: Question) -> int:
    return sum(chunk.count(b"\n") for chunk in store.stream(question))


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _ask(work: str, ask: Callable[[], object]) -> None:
    ask()
    _row(work, statistics.median(_timed(ask) for _ in range(ASKS)) * 1000, "ms")


def _row(work: str, value: float, unit: str, rest: str = "") -> None:
    print(f"  {work:<50}  {value:>12,.2f} {unit}{f'  ({rest})' if rest else ''}")


if __name__ == "__main__":
    sys.exit(main())
