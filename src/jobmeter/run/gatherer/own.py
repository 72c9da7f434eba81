"""The gatherer's outputs that need other rooms than a sink may know: the sample store, and summaries of ended jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobmeter.contract import Clock, SampleSink, StoreUnavailable
from jobmeter.run.gatherer.outputs import Output
from jobmeter.run.gatherer.summarizing import Summarizing
from jobmeter.settings.gather import GatherSettings
from jobmeter.settings.samples import SampleStoreSettings

STORE, SUMMARIES = "store", "summaries"


def has_own(settings: GatherSettings) -> bool:
    """Whether the settings ask for any of these outputs."""
    return settings.samples.path is not None or settings.summaries.address is not None


@contextmanager
def own_outputs(settings: GatherSettings, clock: Clock) -> Iterator[list[Output]]:
    """These outputs, opened, while summaries are delivered; whoever feeds an output closes it.

    Raises StoreUnavailable, SpoolFault, OSError, and ValueError for settings that do not fit.
    """
    summing = open_summarizing(settings, clock)
    outputs = [] if summing is None else [Output(SUMMARIES, summing.output)]
    try:
        if settings.samples.path is not None:
            outputs.append(Output(STORE, open_sample_store(settings.samples, clock)))
        if summing is not None:
            summing.start()
        yield outputs
    finally:
        if summing is not None:
            summing.stop(settings.drain_seconds)


def open_sample_store(settings: SampleStoreSettings, clock: Clock) -> SampleSink:
    """The way into the sample store at `settings.path`. Raises StoreUnavailable where another process writes it."""
    from jobmeter.store.samples.fault import StoreTaken  # noqa: PLC0415 - numpy, only where there is a store
    from jobmeter.store.samples.writer import SampleStoreWriter  # noqa: PLC0415

    if settings.path is None:
        raise ValueError("samples.path is not set")
    try:
        settings.path.mkdir(parents=True, exist_ok=True)
        return SampleStoreWriter(settings.path, settings.bounds, clock)
    except (StoreTaken, OSError) as fault:
        raise StoreUnavailable(f"the sample store cannot be written: {fault}") from None


def open_summarizing(settings: GatherSettings, clock: Clock) -> Summarizing | None:
    """What sums and sends, where a server is set. Its state lies beside the journal."""
    from jobmeter.sinks import summaries  # noqa: PLC0415 - HTTP and TLS, only where they are used

    chosen = settings.summaries
    if chosen.address is None:
        return None
    if not settings.journal.folder:
        raise ValueError("summaries need journal.folder: without it they would be lost with this process")
    try:
        sink = summaries.open_sink(
            summaries.Settings(
                address=chosen.address,
                ca_file=chosen.ca_file,
                certificate_file=chosen.certificate_file,
                key_file=chosen.key_file,
                token=chosen.token,
                token_file=chosen.token_file,
            )
        )
    except ValueError as fault:
        raise ValueError(f"summaries: {fault}") from None
    return Summarizing(
        Path(settings.journal.folder),
        sink,
        clock,
        silent_seconds=chosen.silent_seconds,
        flush_seconds=chosen.flush_seconds,
    )
