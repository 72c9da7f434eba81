"""The node's sender, from settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from jobmeter.model.sample import SampleBatch
from jobmeter.settings.sending import Sending
from jobmeter.transport.backlog import Bounds
from jobmeter.transport.curve import read_keys
from jobmeter.transport.sender import Sender, SenderSettings


def open_sender(settings: Sending, node: str) -> Sender:
    """The sender of a node of that name, started. Raises KeysUnusable and SpoolUnavailable."""
    curve = settings.curve
    return Sender(
        SenderSettings(
            gatherers=settings.gatherers,
            acknowledge=settings.acknowledge,
            high_water_mark=settings.high_water_mark,
            linger_milliseconds=settings.linger_milliseconds,
            answer_seconds=settings.answer_seconds,
            spool_folder=None if settings.spool is None else Path(settings.spool),
            bounds=Bounds(settings.memory_max_bytes, settings.memory_seconds, settings.spool_max_bytes),
            keys=None if curve is None else read_keys(Path(curve.key_file), with_secret=True),
            gatherer_key=None if curve is None else read_keys(Path(curve.gatherer_file), with_secret=False),
        ),
        node,
        colmet=_colmet() if settings.wire == "colmet" else None,
    )


def _colmet() -> Callable[[SampleBatch], Iterable[tuple[int, bytes]]]:
    from jobmeter.transport.colmet import ColmetMessages  # noqa: PLC0415 - see there

    return ColmetMessages()
