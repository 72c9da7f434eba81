"""Fills a data folder with the demo, once: records, summaries, documents, samples, and some dead letters.

What was begun and not finished is gone on with, with the same moment as now, so that the same jobs come out.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct, structs

from jobmeter.model.letter import DeadLetter
from jobmeter.observe.host import SystemClock
from jobmeter.run.demo import documents as demo_documents
from jobmeter.run.demo import generator as demo
from jobmeter.run.demo import samples as demo_samples
from jobmeter.settings.samples import SampleBounds
from jobmeter.wire.auditor import encode_record
from jobmeter.wire.received import decode_posted

MARK = "demo.json"
NOT_DEMO = "holds data that is no demo; give another folder with --data"

_AT_ONCE = 2000
_CONFLICTS = 7

_Item = TypeVar("_Item")


class Mark(Struct, frozen=True):
    """What a demo folder was filled with, and whether all of it is there."""

    seed: int
    now: datetime
    is_whole: bool = False


class Loaded(Struct, frozen=True):
    """How much there is of everything."""

    records: int
    summaries: int
    documents: int
    samples: int
    letters: int
    seconds: float


def fault(data: Path) -> str | None:
    """Why the folder cannot take a demo, or None."""
    if (data / "records.db").exists() and not (data / MARK).exists():
        return f"{data} {NOT_DEMO}"
    return None


def load(data: Path, url: str, now: datetime, say: Callable[[str], None], *, days: int = demo.DAYS) -> Loaded | None:
    """Fill the folder; None when it is full already. Raises OSError and what the stores raise."""
    file = data / MARK
    mark = msgspec.json.decode(file.read_bytes(), type=Mark) if file.exists() else Mark(demo.SEED, _whole(now))
    if mark.is_whole:
        return None
    file.write_bytes(msgspec.json.encode(mark))
    began = time.monotonic()
    jobs = list(demo.jobs(mark.now, mark.seed, days))
    say(f"demo: {len(jobs)} jobs of {len(demo.CLUSTERS)} sites in {days} days are made up (seed {mark.seed})")
    records, summaries, letters = _account(url, jobs, mark.now)
    say(f"demo: {records} records and {summaries} summaries are stored")
    documents = _documents(url, jobs, mark.now)
    samples = _samples(data / "samples", jobs, mark.now)
    file.write_bytes(msgspec.json.encode(structs.replace(mark, is_whole=True)))
    loaded = Loaded(records, summaries, documents, samples, letters, time.monotonic() - began)
    say(f"demo: {documents} documents and {samples} samples are stored; all done in {loaded.seconds:.1f} s")
    return loaded


def _whole(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(microsecond=0)


def _account(url: str, jobs: list[demo.Job], now: datetime) -> tuple[int, int, int]:
    from jobmeter.store.open import open_store  # noqa: PLC0415 - --help must not pay for it
    from jobmeter.store.summaries import Summaries  # noqa: PLC0415

    store, summaries = open_store(url, migrate=True), Summaries(url)
    try:
        for several in _in_groups(jobs):
            store.put([demo.record(job) for job in several])
        made = [(one, job.record_id) for job in jobs if (one := demo.summary(job, now)) is not None]
        for some in _in_groups(made):
            summaries.put(some)
        letters = list(_letters(jobs, now))
        if not store.letters(1):
            store.bury(letters)
    finally:
        summaries.close()
        store.close()
    return len(jobs), len(made), len(letters)


def _letters(jobs: list[demo.Job], now: datetime) -> Iterator[DeadLetter]:
    """Conflicts, of jobs that some collector told twice and not the same, and words that are no record."""
    ended = [job for job in jobs if job.stop is not None]
    for number, job in enumerate(ended[-_CONFLICTS:]):
        other = structs.replace(job, cores=job.cores * 2)
        body = encode_record(demo.record(other))
        reason = f"there is another record with the id {job.record_id}; it was kept (components.Cores differs) [demo]"
        yield DeadLetter("demo-collector", reason, body, now - timedelta(hours=number), len(body))
    for text in (b'{"record_id": "demo-broken", "start_time": "yesterday"}', b"sacct: error: demo, not JSON"):
        yield DeadLetter("demo-collector", "this is no record: expected a time [demo]", text, now, len(text))


def _documents(url: str, jobs: list[demo.Job], now: datetime) -> int:
    from jobmeter.store.documents import Documents  # noqa: PLC0415

    count = 0
    store = Documents(url)
    try:
        for several in _in_groups(demo_documents.documents(jobs, demo.CLUSTERS, now), 1000):
            posted = decode_posted(msgspec.json.encode(several), now, None)
            store.keep([one.document for one in posted])
            count += len(several)
    finally:
        store.close()
    return count


def _samples(folder: Path, jobs: list[demo.Job], now: datetime) -> int:
    from jobmeter.store.samples.open import SampleFolder  # noqa: PLC0415 - numpy

    shutil.rmtree(folder, ignore_errors=True)  # of a load that was cut off: samples are not known again by an id
    count = 0
    store = SampleFolder(folder, SampleBounds(), SystemClock())
    try:
        sink = store.sink()
        for batch in demo_samples.batches(jobs, demo.CLUSTERS, now):
            count += len(sink.write(batch))
        sink.flush()
    finally:
        store.close()
    return count


def _in_groups(items: Iterable[_Item], size: int = _AT_ONCE) -> Iterator[list[_Item]]:
    left = iter(items)
    while several := list(islice(left, size)):
        yield several
