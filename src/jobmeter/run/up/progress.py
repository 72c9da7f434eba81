"""How far the first reading of a batch system's history is, from what its collector says of itself."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

_PREFIX = "jobmeter_collect_"


class Progress(Struct, frozen=True):
    """Of one collector: records found so far and waiting, the newest end, and whether a reading was ever finished."""

    source: str
    records: int
    waiting: int
    newest: datetime | None
    is_done: bool
    failures: int = 0


def progress(source: str, file: Path) -> Progress | None:
    """What the file of metrics says; None when there is none yet."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        return None
    found = values(text)
    newest = found.get("newest_job_end_timestamp_seconds")
    return Progress(
        source,
        int(found.get("queued_total", 0)),
        int(found.get("waiting", 0)),
        None if newest is None else datetime.fromtimestamp(newest, UTC),
        found.get("readings_total", 0) > 0,
        int(found.get("reading_failures_in_a_row", 0)),
    )


def values(text: str) -> dict[str, float]:
    """Our metrics by their names without the first part; labels are left out. Lines that are none are passed over."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith(_PREFIX):
            continue
        name = line.removeprefix(_PREFIX).partition("{")[0].partition(" ")[0]
        try:
            found[name] = float(line.rpartition(" ")[2])
        except ValueError:
            continue
    return found


def sentence(now: Progress) -> str:
    """For a person."""
    upto = f", up to {now.newest:%Y-%m-%d %H:%M}" if now.newest is not None else ""
    if now.failures:
        return f"{now.source}: does not answer ({now.failures} times in a row); it is asked again"
    if now.is_done and not now.waiting:
        return f"{now.source}: history read, {now.records} jobs{upto}; new ones follow as they end"
    return f"{now.source}: reading history, {now.records} jobs{upto}; {now.waiting} wait for the server"
