"""Prints samples on standard output or into a file, for people: a line each, or in the form of Colmet's collector.

What Colmet has no class for is a block of its form, too, with the values as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, TextIO

from msgspec import Meta, Struct

from jobmeter.model.outcome import Accepted, Keep, Outcome
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.wire.colmet_samples import ColmetForm
from jobmeter.wire.colmet_text import block, lines_of

_SECOND_NS = 1_000_000_000


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
    involved = [f"involved={','.join(job.shown for job in sample.involved)}"] if sample.involved else []
    stamp = f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}Z"
    text = " ".join([stamp, sample.node, _job_text(sample), source, *values, *involved])
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def _job_text(sample: Sample) -> str:
    return "-" if sample.job is None else sample.job.shown


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _colmet_lines(form: ColmetForm, batch: SampleBatch) -> Iterator[str]:
    converted = form.converted(batch)
    for made in converted.made:
        yield from lines_of(made.record)
    for place in converted.rest:
        sample = batch.samples[place]
        pairs = zip(sample.metrics, sample.values, strict=True)
        yield from block(
            sample.time_ns // _SECOND_NS,
            _job_text(sample),
            sample.source,
            sample.node,
            [(name, _shown(value)) for name, value in pairs if value is not None],
        )
