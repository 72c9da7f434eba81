"""The jobs that were announced and could not be taken, asked for again."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta

from jobmeter.contract import JobBatch, Refused, SourceUnreadable
from jobmeter.deliver.announcements import Announcement, Announcements
from jobmeter.model.period import Period
from jobmeter.observe.host import Host
from jobmeter.run.collector.plugin import Deployed, Plugin

_READING_SECONDS = 30.0
"""How long one reading asks. When the batch system does not answer, every question costs its whole time limit."""

log = logging.getLogger("jobmeter.run")


class AnnouncedJobs:
    """A JobSource (see `jobmeter.contract`) of the announced jobs. An announcement goes when its batch was stored.

    With `forget` false all announcements stay: nothing is stored of what is read.
    """

    def __init__(
        self,
        plugin: Plugin,
        settings: Deployed,
        host: Host,
        announcements: Sequence[Announcements],
        *,
        forget: bool = True,
    ) -> None:
        self._plugin = plugin
        self._settings = settings
        self._host = host
        self._announcements = announcements
        self._forget = forget

    def read(self, cursor: str | None, period: Period | None = None) -> Iterator[JobBatch]:
        """The batches of the announced jobs, newest first. What cannot be asked for is kept until it is too old."""
        del cursor
        if period is not None:
            raise SourceUnreadable("only jobs that were announced are known; there is no history to read again")
        deadline = time.monotonic() + _READING_SECONDS
        for announcements in self._announcements:
            for announcement in self._pending(announcements):
                if time.monotonic() > deadline:
                    return
                for batch in self._batches(announcement):
                    yield batch
                    if self._forget:
                        announcements.remove(announcement)

    def _pending(self, announcements: Announcements) -> list[Announcement]:
        try:
            return announcements.pending()
        except OSError as fault:
            raise SourceUnreadable(f"the announcements cannot be read: {fault}") from None

    def _batches(self, announcement: Announcement) -> Iterator[JobBatch]:
        # This process may have been called for another job, whose variables say nothing of this one.
        own = {name: value for name, value in self._host.environment.items() if name not in self._kept_variables()}
        host = Host(self._host.root, self._host.clock, {**own, **announcement.variables})
        try:
            yield from self._plugin.open_source(self._settings, host).read(None)
        except SourceUnreadable as fault:
            if host.clock.now() - announcement.announced > self._patience():
                raw = "\n".join(f"{name}={value}" for name, value in announcement.variables.items())
                log.error("hook.given_up announcement=%s reason=%r", announcement.file.name, str(fault))  # noqa: TRY400 - no bug
                yield JobBatch((), (Refused(raw, f"was asked for until it was too late: {fault}"),), "", 1, {})
            else:
                log.warning("hook.still_kept announcement=%s reason=%r", announcement.file.name, str(fault))

    def _kept_variables(self) -> tuple[str, ...]:
        hook = self._settings.deployment.hook
        return () if hook is None else hook.kept_variables

    def _patience(self) -> timedelta:
        hook = self._settings.deployment.hook
        return timedelta(seconds=0 if hook is None else hook.give_up_seconds)
