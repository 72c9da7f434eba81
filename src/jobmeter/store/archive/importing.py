"""Records of a Parquet file that this database does not list: one of ours from elsewhere, or one of AUDITOR's.

AUDITOR's files have the columns record_id, meta and components (JSON as text), start_time and stop_time (UTC,
milliseconds) and runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC
from itertools import islice
from pathlib import Path

from jobmeter.model.record import Component, Record, Score, from_microseconds
from jobmeter.store.archive.engine import Engine
from jobmeter.store.archive.layout import Layout, body
from jobmeter.store.archive.shred import decode_body
from jobmeter.store.archive.writing import layout_in
from jobmeter.wire.auditor import BadRecord, decode_record

BLOCK = 1000
_AUDITORS = {"record_id", "meta", "components", "start_time", "stop_time", "runtime"}


class NotOurs(Exception):  # noqa: N818 - the name says the fact
    """The file is none that records can be read from; the message says why."""


def records_of(engine: Engine, path: Path, refuse: Callable[[str], None]) -> Iterator[list[Record]]:
    """The records of the file, in blocks. `refuse` is told of each that can be none, with the reason.

    Raises NotOurs, and StoreUnavailable for a file that cannot be read.
    """
    if not path.exists():
        raise NotOurs(f"there is no file {path}")
    layout = layout_in(engine, path)
    found = _auditors(engine, path, refuse) if layout is None else _ours(engine, path, layout)
    while block := list(islice(found, BLOCK)):
        yield block


def _ours(engine: Engine, path: Path, layout: Layout) -> Iterator[Record]:
    """As they were stored: the rules for names of that day count."""
    statement = f"SELECT {body(layout)} FROM read_parquet(?)"  # noqa: S608 - columns, quoted
    for (text,) in engine.rows(statement, [str(path)]):
        held = decode_body(text.encode())
        components = tuple(
            Component(one.name, one.amount, tuple(Score(score.name, score.value) for score in one.scores))
            for one in held.components
        )
        yield Record(held.record_id, components, held.start_time, held.meta, held.stop_time)


def _auditors(engine: Engine, path: Path, refuse: Callable[[str], None]) -> Iterator[Record]:
    names = {name for name, *_ in engine.rows("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)])}
    if not names >= _AUDITORS:
        raise NotOurs(f"{path} is no archive file: it has the columns {', '.join(sorted(names))}")
    statement = (
        "SELECT to_json(record_id)::VARCHAR, meta::VARCHAR, components::VARCHAR, epoch_us(start_time), "
        "epoch_us(stop_time) FROM read_parquet(?)"
    )
    for record_id, meta, components, start_us, stop_us in engine.rows(statement, [str(path)]):
        stop = "null" if stop_us is None else f'"{_text(stop_us)}"'
        text = (
            f'{{"record_id":{record_id},"meta":{meta or "null"},"components":{components or "[]"},'
            f'"start_time":"{_text(start_us)}","stop_time":{stop}}}'
        )
        try:
            yield decode_record(text.encode())
        except BadRecord as fault:
            refuse(f"{record_id}: {fault}")


def _text(moment_us: int) -> str:
    return from_microseconds(moment_us).astimezone(UTC).isoformat()
