"""Records of a Parquet file that this database does not list: one of ours from elsewhere, or one of AUDITOR's.

AUDITOR's files have the columns record_id, meta and components (JSON as text), start_time and stop_time (UTC,
milliseconds) and runtime.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

from jobmeter.model.record import Record, from_microseconds
from jobmeter.store.archive.engine import Engine
from jobmeter.store.archive.layout import body
from jobmeter.store.archive.writing import layout_in
from jobmeter.wire.auditor import BadRecord, decode_record

BLOCK = 1000
_AUDITORS = {"record_id", "meta", "components", "start_time", "stop_time", "runtime"}


class NotOurs(Exception):  # noqa: N818 - the name says the fact
    """The file is none that records can be read from; the message says why."""


def records_of(engine: Engine, path: Path) -> Iterator[list[Record]]:
    """The records of the file, in blocks. Raises NotOurs, and StoreUnavailable for a file that cannot be read."""
    if not path.exists():
        raise NotOurs(f"there is no file {path}")
    block: list[Record] = []
    for text in _bodies(engine, path):
        try:
            block.append(decode_record(text.encode()))
        except BadRecord as fault:
            raise NotOurs(f"{path}: a record cannot be read: {fault}: {text[:200]}") from None
        if len(block) == BLOCK:
            yield block
            block = []
    if block:
        yield block


def _bodies(engine: Engine, path: Path) -> Iterator[str]:
    layout = layout_in(engine, path)
    if layout is not None:
        statement = f"SELECT {body(layout)} FROM read_parquet(?)"  # noqa: S608 - columns, quoted
        yield from (text for (text,) in engine.rows(statement, [str(path)]))
        return
    names = {name for name, *_ in engine.rows("DESCRIBE SELECT * FROM read_parquet(?)", [str(path)])}
    if not names >= _AUDITORS:
        raise NotOurs(f"{path} is no archive file: it has the columns {', '.join(sorted(names))}")
    statement = (
        "SELECT to_json(record_id)::VARCHAR, meta::VARCHAR, components::VARCHAR, epoch_us(start_time), "
        "epoch_us(stop_time) FROM read_parquet(?)"
    )
    for record_id, meta, components, start_us, stop_us in engine.rows(statement, [str(path)]):
        stop = "null" if stop_us is None else f'"{_text(stop_us)}"'
        yield (
            f'{{"record_id":{record_id},"meta":{meta or "null"},"components":{components or "[]"},'
            f'"start_time":"{_text(start_us)}","stop_time":{stop}}}'
        )


def _text(moment_us: int) -> str:
    return from_microseconds(moment_us).astimezone(UTC).isoformat()
