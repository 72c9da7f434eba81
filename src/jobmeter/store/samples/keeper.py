"""What a sample store does with its segments beside the writing: merging, rolling up, removing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from jobmeter.contract import Clock
from jobmeter.model.record import microseconds
from jobmeter.settings.samples import DAY_NS, SampleBounds
from jobmeter.store.samples.fault import Damaged
from jobmeter.store.samples.folder import (
    RAW,
    TIERS_SECONDS,
    Span,
    leftovers,
    listing,
    overlap,
    segment_path,
    tier_folder,
)
from jobmeter.store.samples.merge import merge, roll_up
from jobmeter.store.samples.segment import Segment, sync_folder

FAN = 6
"""So many neighbours of one level become one of the next."""
LEVEL_MAX = 3
MERGED_BYTES_MAX = 2**29
SECOND_NS = 10**9

log = logging.getLogger("jobmeter.store")


class Keeper:
    """Tidies one sample store. Only its writer may have one; `step` may run in another thread than the writing."""

    def __init__(self, folder: Path, bounds: SampleBounds, clock: Clock) -> None:
        self._folder = folder
        self._bounds = bounds
        self._clock = clock
        self._segments: dict[Path, Segment] = {}
        self.damaged: dict[Path, str] = {}

    def step(self) -> bool:
        """Do the next thing there is to do; False when there is none. Raises OSError; nothing is half done then."""
        found = listing(self._folder)
        return (
            self._merge(self._folder / RAW, found.raw)
            or self._roll(found.raw, found.tiers)
            or any(self._merge(tier_folder(self._folder, tier), spans) for tier, spans in found.tiers.items())
            or self._expire(found.raw, found.tiers)
        )

    def clean(self) -> None:
        """Remove what a crash left over."""
        for path in leftovers(self._folder):
            log.info("samples.left_over file=%s", path.name)
            path.unlink(missing_ok=True)

    def _merge(self, folder: Path, spans: Sequence[Span]) -> bool:
        run: list[Segment] = []
        chosen: list[Span] = []
        for span in spans:
            segment = self._segment(span)
            if segment is None or (chosen and chosen[0].level != span.level):
                run, chosen = [], []
            if segment is None or span.level >= LEVEL_MAX:
                continue
            run.append(segment)
            chosen.append(span)
            if len(run) < FAN:
                continue
            if sum(one.size for one in run) > MERGED_BYTES_MAX:
                del run[0], chosen[0]
                continue
            target = segment_path(folder, chosen[0].first, chosen[-1].last, chosen[0].level + 1)
            if self._made(chosen, partial(merge, run, target)):
                self._remove(chosen, "merged")
                return True
            return False
        return False

    def _roll(self, raw: Sequence[Span], tiers: dict[int, list[Span]]) -> bool:
        return any(span.level > 0 and self._rolled(span, tiers) for span in raw)

    def _rolled(self, span: Span, tiers: dict[int, list[Span]]) -> bool:
        """Make the rollups of a raw segment that has none. Whether that was done."""
        done = False
        for seconds in TIERS_SECONDS:
            segment = self._segment(span)
            if segment is None or overlap(span, tiers[seconds]):
                continue
            target = segment_path(tier_folder(self._folder, seconds), span.first, span.last, 0)
            done |= self._made([span], partial(roll_up, segment, target, seconds * SECOND_NS))
        return done

    def _expire(self, raw: Sequence[Span], tiers: dict[int, list[Span]]) -> bool:
        now_ns = microseconds(self._clock.now()) * 1000
        oldest = now_ns - int(self._bounds.raw_days * DAY_NS)
        gone = [span for span in raw if self._is_before(span, oldest)]
        total = sum(_size(span) for spans in (raw, *tiers.values()) for span in spans)
        for span in raw:
            if total <= self._bounds.max_bytes:
                break
            if span not in gone:
                gone.append(span)
            total -= _size(span)
        for span in gone:
            self._rolled(span, tiers)
        self._remove(gone, "expired")
        old = [
            span
            for seconds, days in zip(TIERS_SECONDS, (self._bounds.minute_days, self._bounds.hour_days), strict=True)
            for span in tiers[seconds]
            if self._is_before(span, now_ns - int(days * DAY_NS))
        ]
        for seconds in TIERS_SECONDS:
            for span in tiers[seconds]:
                if total <= self._bounds.max_bytes:
                    break
                if span not in old:
                    old.append(span)
                    total -= _size(span)
        self._remove(old, "expired")
        return False

    def _is_before(self, span: Span, oldest_ns: int) -> bool:
        segment = self._segment(span)
        return segment is not None and segment.last_ns is not None and segment.last_ns < oldest_ns

    def _made(self, spans: Sequence[Span], work: Callable[[], None]) -> bool:
        try:
            work()
        except Damaged as fault:
            for path in [span.path for span in spans] if fault.path is None else [fault.path]:
                self._note(path, str(fault))
            return False
        return True

    def _segment(self, span: Span) -> Segment | None:
        if span.path in self.damaged:
            return None
        found = self._segments.get(span.path)
        if found is None:
            try:
                found = self._segments[span.path] = Segment(span.path)
            except Damaged as fault:
                self._note(span.path, str(fault))
        return found

    def _note(self, path: Path, reason: str) -> None:
        if path not in self.damaged:
            log.error("samples.damaged file=%s reason=%r", path, reason)
        self.damaged[path] = reason

    def _remove(self, spans: Sequence[Span], why: str) -> None:
        for span in spans:
            span.path.unlink(missing_ok=True)
            self._segments.pop(span.path, None)
            log.info("samples.removed file=%s why=%s", span.path.name, why)
        for folder in {span.path.parent for span in spans}:
            sync_folder(folder)


def _size(span: Span) -> int:
    try:
        return span.path.stat().st_size
    except FileNotFoundError:
        return 0
