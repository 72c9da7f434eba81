"""Prints samples on standard output or into a file, for people: a line each, or in the form of Colmet's collector.

Colmet's form is a head line for each record and a line for each counter, rounded for reading: `20M (bytes)`. It cannot
be read back. Here the lines stand in the order of the counters' names.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, TextIO

from msgspec import Meta, Struct

from jobmeter.model.job import JobIdentity
from jobmeter.model.outcome import Accepted, Keep, Outcome
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.wire.colmet import ColmetRecord, Value, columns
from jobmeter.wire.colmet_metrics import RECEIVED
from jobmeter.wire.colmet_samples import ColmetForm

_SECOND_NS = 1_000_000_000
_UNIT_OF = {(kind, metric.help.partition(" ")[0]): metric.unit for kind, all_ in RECEIVED.items() for metric in all_}
_PREFIXES = ("", "K", "M", "G", "T", "P", "E")
_ROUNDED_ABOVE = 10_000
_BINARY = {"bytes": 1, "kibibytes": 1024}
_TIMES = {"nanoseconds": 1e-9, "microseconds": 1e-6}


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where to print, and how."""

    path: Annotated[str | None, Meta(description="A file to append to; none: standard output.")] = None
    form: Annotated[
        Literal["lines", "colmet"], Meta(description="A line for each sample, or the blocks of Colmet's collector.")
    ] = "lines"


class TextSink:
    """A sample sink (see `jobmeter.contract.SampleSink`) that prints."""

    batch_limit = 1000

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._form = ColmetForm()
        self._stream = self._opened()

    def write(self, batch: SampleBatch) -> Sequence[Outcome]:
        """Print the batch."""
        lines = _colmet_lines(self._form, batch) if self._settings.form == "colmet" else map(line, batch.samples)
        try:
            self._stream.writelines(f"{text}\n" for text in lines)
        except OSError as fault:
            return [Keep(reason=str(fault))] * len(batch.samples)
        return [Accepted()] * len(batch.samples)

    def flush(self) -> None:
        """Hand what was printed to the system."""
        self._stream.flush()

    def reopen(self) -> None:
        """Begin the file anew under its name, which a rotation may have given to another."""
        if self._settings.path is not None:
            self._stream.close()
            self._stream = self._opened()

    def close(self) -> None:
        """Flush, and close the file."""
        self._stream.flush()
        if self._settings.path is not None:
            self._stream.close()

    def _opened(self) -> TextIO:
        if self._settings.path is None:
            return sys.stdout
        return open(self._settings.path, "a", encoding="utf-8")  # noqa: PTH123 - kept open


def open_sink(settings: Settings) -> TextSink:
    """The sink. Raises OSError when the file cannot be opened."""
    return TextSink(settings)


def line(sample: Sample) -> str:
    """A sample in a line: time, node, job or `-`, source with instance, and the values that are there."""
    at = datetime.fromtimestamp(sample.time_ns / _SECOND_NS, UTC)
    source = f"{sample.source}[{sample.instance}]" if sample.instance else sample.source
    values = (
        f"{name}={_shown(value)}"
        for name, value in zip(sample.metrics, sample.values, strict=True)
        if value is not None
    )
    involved = [f"involved={','.join(map(job_text, sample.involved))}"] if sample.involved else []
    return " ".join(
        [
            f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z",
            sample.node,
            job_text(sample.job),
            source,
            *values,
            *involved,
        ]
    )


def job_text(job: JobIdentity | None) -> str:
    """A job as it is shown to people: `slurm/alpha:123`, with the restart when there was one; `-` is the node."""
    if job is None:
        return "-"
    place = f"{job.manager}/{job.cluster}" if job.cluster else job.manager
    return f"{place}:{job.job}" + (f".{job.run}" if job.run else "")


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _colmet_lines(form: ColmetForm, batch: SampleBatch) -> Iterator[str]:
    converted = form.converted(batch)
    for made in converted.made:
        yield from _block(made.record)
    for place in converted.rest:
        sample = batch.samples[place]
        yield _head(sample.time_ns // _SECOND_NS, job_text(sample.job), sample.source, sample.node)
        yield from _counters(
            [
                (name, _shown(value))
                for name, value in zip(sample.metrics, sample.values, strict=True)
                if value is not None
            ]
        )
        yield "}"


def _block(record: ColmetRecord) -> Iterator[str]:
    yield _head(record.stamp_seconds, str(record.job), record.kind, record.host)
    pairs = zip(columns(record.kind), record.values, strict=True)
    yield from _counters(
        sorted((name, _rounded(value, _UNIT_OF.get((record.kind, name), ""))) for name, value in pairs)
    )
    yield "}"


def _counters(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    width = max((len(name) for name, _ in pairs), default=0)
    return (f"\t{name:>{width}} : {value}" for name, value in pairs)


def _rounded(value: Value, unit: str) -> str:
    """A counter for people, with the unit that it is in after rounding."""
    if value is None:
        return "-1"
    if isinstance(value, str):
        return value
    if unit in _BINARY:
        return f"{_scaled(value * _BINARY[unit], 1024)} (bytes)"
    if unit in _TIMES:
        seconds = value * _TIMES[unit]
        return f"{seconds * 1000:.0f}m (seconds)" if 0 < seconds < 1 else f"{seconds:.0f} (seconds)"
    return f"{_scaled(value, 1000)} (count)" if unit == "count" else _shown(value)


def _scaled(value: float, step: int) -> str:
    power = 0
    while abs(value) > _ROUNDED_ABOVE and power < len(_PREFIXES) - 1:
        value /= step
        power += 1
    return f"{value:.0f}{_PREFIXES[power]}"


def _head(stamp_seconds: int, job: str, kind: str, host: str) -> str:
    return f"{stamp_seconds}  Job({job})/ {kind} -> Host({host}) -> {{"
