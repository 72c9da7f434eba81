"""Reading an accounting on and on: from the cursor to now in slices, each a batch with its own cursor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from jobmeter.contract import JobBatch, SourceUnreadable
from jobmeter.model.period import Period
from jobmeter.observe.history.cursor import Cursor, CursorUnreadable, Rhythm, cursor_of, first_cursor, plan
from jobmeter.observe.host import Host, OutputTooLarge

_SHORTEST = timedelta(minutes=1)


class History(Struct, frozen=True):
    """An accounting that can be asked for what ended in a period.

    `batch(window, now)` reads what ended in the window, with any cursor; it raises SourceUnreadable, or OutputTooLarge
    where there is too much for one answer: it is then asked for shorter windows. `first(now)` says where a source that
    was never read begins. `bound` names the setting to raise when a minute is too much.
    """

    host: Host
    rhythm: Rhythm
    width: timedelta
    bound: str
    first: Callable[[datetime], datetime]
    batch: Callable[[Period, datetime], JobBatch]

    def read(self, text: str | None, period: Period | None) -> Iterator[JobBatch]:
        """The batches of a job source, see `jobmeter.contract`. Raises SourceUnreadable."""
        now = self.host.clock.now().replace(microsecond=0)
        if period is not None:
            for _, batch in self._batches(period, now):
                yield replace(batch, cursor=text or "")
            return
        scheme = plan(self._cursor(text, now), now, self.rhythm)
        reached = scheme.before
        for stop, batch in self._batches(scheme.period, now):
            reached = reached.reached(stop)
            yield replace(batch, cursor=(scheme.after if stop >= now else reached).text())
        if scheme.period.start >= scheme.period.stop:
            yield JobBatch((), (), scheme.after.text(), 0, {})

    def _cursor(self, text: str | None, now: datetime) -> Cursor:
        if text is None:
            return first_cursor(min(self.first(now), now), now, self.rhythm)
        try:
            return cursor_of(text)
        except CursorUnreadable as fault:
            raise SourceUnreadable(str(fault)) from None

    def _batches(self, period: Period, now: datetime) -> Iterator[tuple[datetime, JobBatch]]:
        """The batches of a period, each with the moment up to which it goes; shorter ones once there was too much."""
        start, width = period.start, self.width
        while start < period.stop:
            window = Period(start, min(start + width, period.stop))
            try:
                batch = self.batch(window, now)
            except OutputTooLarge as fault:
                if (length := window.stop - start) <= _SHORTEST:
                    raise SourceUnreadable(f"{fault} for a minute; raise {self.bound}") from None
                width = max(_SHORTEST, timedelta(seconds=length // timedelta(seconds=2)))
            else:
                yield window.stop, batch
                start = window.stop
