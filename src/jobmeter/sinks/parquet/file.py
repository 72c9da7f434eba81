"""Makes one Parquet file, which has its name only once it is whole and on disk."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import duckdb
import msgspec

from jobmeter.model.metric import Metric
from jobmeter.sinks.parquet.held import SEPARATOR, Held

_SUFFIX = ".parquet"
_UNFINISHED = ".jobmeter-unfinished"
_NAME_MAX = 100
_GROUP_BYTES = 8 * 2**20
_GROUP_ROWS_MIN, _GROUP_ROWS_MAX = 2048, 122_880
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_CODECS = {"zstd": "zstd", "snappy": "snappy", "gzip": "gzip", "none": "uncompressed"}
_OWN = f"""
    make_timestamptz(time_ns // 1000) AS "time", time_ns, since_ns, node, manager, cluster, job,
    CAST(run AS BIGINT) AS run, instance,
    CASE WHEN involved IS NULL THEN [] ELSE string_split(involved, chr({ord(SEPARATOR)})) END AS involved"""


def write_file(folder: Path, held: Held, metrics: Sequence[Metric], compression: str, epoch: int) -> Path:
    """Make a file of the rows, durable on return. Raises OSError, and leaves nothing behind then."""
    unfinished = folder / f"{_stem(held.source)}{_UNFINISHED}"
    try:
        _copy(unfinished, held, metrics, compression)
        _sync(unfinished)
        name = _free_name(folder, held.source, epoch)
        unfinished.rename(name)
        _sync(folder)
    except duckdb.Error as fault:
        raise OSError(f"{folder}: {fault}") from fault
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
    return name


def clear_unfinished(folder: Path) -> None:
    """Remove what a writer that was killed had begun; its rows come again."""
    for file in folder.glob(f"*{_UNFINISHED}"):
        file.unlink()


def _copy(file: Path, held: Held, metrics: Sequence[Metric], compression: str) -> None:
    with duckdb.connect(config={"threads": 1, "autoinstall_known_extensions": False}) as connection:
        connection.register("held", held.columns())
        values = "".join(f", nullif(v{place}, 'nan') AS {_quoted(name)}" for place, name in enumerate(held.metrics))
        about = msgspec.json.encode({metric.name: _described(metric) for metric in metrics}).decode()
        chosen = f"SELECT {_OWN}{values} FROM held"  # noqa: S608 - quoted
        options = (
            f"FORMAT parquet, COMPRESSION {_CODECS[compression]}, ROW_GROUP_SIZE {_group_rows(len(held.metrics))}, "
            f"KV_METADATA {{metrics: {_literal(about)}}}"
        )
        connection.execute(f"COPY ({chosen}) TO {_literal(file)} ({options})")


def _group_rows(columns: int) -> int:
    """How many rows are together in a file; the writer has that many in memory."""
    return max(
        _GROUP_ROWS_MIN, min(_GROUP_ROWS_MAX, _GROUP_BYTES // (8 * (columns + 10)) // _GROUP_ROWS_MIN * _GROUP_ROWS_MIN)
    )


def _described(metric: Metric) -> dict[str, str]:
    return {"unit": metric.unit, "kind": metric.kind.value, "help": metric.help}


def _stem(source: str) -> str:
    return _UNSAFE.sub("_", source)[:_NAME_MAX] or "_"


def _free_name(folder: Path, source: str, epoch: int) -> Path:
    stem, number = f"{_stem(source)}.{epoch}", 1
    while (found := folder / (f"{stem}.{number}{_SUFFIX}" if number > 1 else f"{stem}{_SUFFIX}")).exists():
        number += 1
    return found


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(value: object) -> str:
    return "'" + str(value).replace("'", "''") + "'"


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
