"""The jobs that a hook noted and could not take, asked for again."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta

from jobmeter.contract import JobBatch, Refused, SourceUnreadable
from jobmeter.deliver.notes import Note, Notes
from jobmeter.model.period import Period
from jobmeter.observe.host import Host
from jobmeter.run.plugin import Deployed, Plugin

_READING_SECONDS = 30.0
"""How long one reading asks. When the batch system does not answer, every question costs its whole time limit."""

log = logging.getLogger("jobmeter.run")


class NotedJobs:
    """A JobSource (see `jobmeter.contract`) of the noted jobs. A note goes when its batch was stored.

    With `forget` false all notes stay: nothing is stored of what is read.
    """

    def __init__(
        self, plugin: Plugin, settings: Deployed, host: Host, notes: Sequence[Notes], *, forget: bool = True
    ) -> None:
        self._plugin = plugin
        self._settings = settings
        self._host = host
        self._notes = notes
        self._forget = forget

    def read(self, cursor: str | None, period: Period | None = None) -> Iterator[JobBatch]:
        """The batches of the noted jobs, newest first. One that cannot be asked for stays noted until it is too old."""
        del cursor
        if period is not None:
            raise SourceUnreadable("only jobs that were announced are known; there is no history to read again")
        deadline = time.monotonic() + _READING_SECONDS
        for notes in self._notes:
            for note in self._pending(notes):
                if time.monotonic() > deadline:
                    return
                for batch in self._batches(note):
                    yield batch
                    if self._forget:
                        notes.remove(note)

    def _pending(self, notes: Notes) -> list[Note]:
        try:
            return notes.pending()
        except OSError as fault:
            raise SourceUnreadable(f"the notes cannot be read: {fault}") from None

    def _batches(self, note: Note) -> Iterator[JobBatch]:
        host = Host(self._host.root, self._host.clock, {**self._host.environment, **note.variables})
        try:
            yield from self._plugin.open_source(self._settings, host).read(None)
        except SourceUnreadable as fault:
            if host.clock.now() - note.noted > self._patience():
                raw = "\n".join(f"{name}={value}" for name, value in note.variables.items())
                log.error("hook.given_up note=%s reason=%r", note.file.name, str(fault))  # noqa: TRY400 - no bug
                yield JobBatch((), (Refused(raw, f"was asked for until it was too late: {fault}"),), "", 1, {})
            else:
                log.warning("hook.still_noted note=%s reason=%r", note.file.name, str(fault))

    def _patience(self) -> timedelta:
        hook = self._settings.deployment.hook
        return timedelta(seconds=0 if hook is None else hook.give_up_seconds)
