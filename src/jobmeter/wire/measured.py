"""What was measured of jobs, samples and summaries, as items that wait in a spool: a word, a line end, and JSON."""

from __future__ import annotations

import msgspec

from jobmeter.model.sample import SampleBatch
from jobmeter.model.summary import JobSummary

SAMPLES, SUMMARY = b"samples", b"summary"
FORMAT = "measured/1"


def samples_item(batch: SampleBatch) -> bytes:
    """The item for a batch."""
    return SAMPLES + b"\n" + msgspec.json.encode(batch)


def summary_item(summary: JobSummary) -> bytes:
    """The item for a summary."""
    return SUMMARY + b"\n" + msgspec.json.encode(summary)
