"""What becomes of the pods of a namespace: who runs, who ended and waits, who was recorded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from jobmeter.contract import Refused
from jobmeter.observe.kubernetes.cursor import Held, Scope
from jobmeter.observe.kubernetes.ending import Ending, by_containers, settled, when_vanished
from jobmeter.observe.kubernetes.marks import Marks
from jobmeter.observe.kubernetes.pod import Pod
from jobmeter.observe.kubernetes.record import refused

NEVER_RAN = "never ran"
TOO_EARLY = "ended before the beginning"
LEFT = "left the selection"

_AT_THE_BEGINNING = timedelta(minutes=1)
"""What was over when first seen, this soon after the moment from which pods are recorded, was over before it."""


class Ledger:
    """Changes a scope by what is told of its pods. Pure but for `is_there`, which asks the API server.

    `settle` is how long the containers' times of an ended pod are waited for, `backlog` how long usage is.
    """

    def __init__(
        self, scope: Scope, settle: timedelta, backlog: timedelta | None, is_there: Callable[[Pod], bool]
    ) -> None:
        self.scope = scope
        self.refused: list[Refused] = []
        self.ignored: Counter[str] = Counter()
        self._settle = settle
        self._backlog = backlog
        self._is_there = is_there
        self._found = Marks()

    def page(self, pods: Sequence[Pod], now: datetime, *, is_first: bool) -> None:
        """Some of the pods that there are; the first page begins a new list of all."""
        if is_first:
            self._found = Marks()
        for pod in pods:
            self._found.add(pod.uid)
            self._look(pod, now, is_live=False)

    def listed(self, version: str, now: datetime) -> None:
        """All pods were told, as of `version`. Those that ran before and are not among them are gone."""
        scope = self.scope
        last_seen = scope.alive or scope.listed or now
        for pod in [pod for uid, pod in scope.running.items() if uid not in self._found]:
            del scope.running[pod.uid]
            if self._has_left(pod):
                self.ignored[LEFT] += 1
            else:
                ending = when_vanished(pod, last_seen)
                self._hold(Held(pod, seen=now, due=now, ending=ending, fallback=ending, is_gone=True))
        scope.done &= self._found
        scope.version, scope.listed, scope.alive = version, now, now
        self._found = Marks()

    def knows(self, uid: str) -> bool:
        """Whether the pod was found by the list that is under way, or seen before."""
        scope = self.scope
        return any(uid in known for known in (scope.running, scope.held, self._found, scope.done))

    def told(self, kind: str, pod: Pod, now: datetime) -> None:
        """An event of the watch."""
        if kind != "DELETED":
            self._look(pod, now, is_live=True)
        elif pod.uid in self.scope.done:
            self.scope.done.discard(pod.uid)
        elif not pod.has_ended and pod.uid in self.scope.running and self._has_left(pod):
            del self.scope.running[pod.uid]
            self.ignored[LEFT] += 1
        else:
            self._look(pod, now, is_live=True, is_gone=True)

    def due(self, now: datetime, limit: int) -> list[tuple[Held, Ending]]:
        """Pods that ended and whose time has come, with their ends. Each is to be `record`ed or put off."""
        found: list[tuple[Held, Ending]] = []
        for held in list(self.scope.held.values()):
            if held.due > now:
                continue
            held.ending = held.ending or settled(held.pod, held.fallback)
            if held.ending is None and held.seen - self.scope.first < _AT_THE_BEGINNING:
                self.ignored[TOO_EARLY] += 1
                self.finish(held)
                continue
            if held.ending is None:
                self.refused.append(refused(held.pod, "when it ended is not known: it was over when first seen"))
                self.finish(held)
                continue
            if held.ending.stop < self.scope.first:
                self.ignored[TOO_EARLY] += 1
                self.finish(held)
                continue
            found.append((held, held.ending))
            if len(found) >= limit:
                break
        return found

    def finish(self, held: Held) -> None:
        """The pod needs nothing more."""
        del self.scope.held[held.pod.uid]
        if not held.is_gone:
            self.scope.done.add(held.pod.uid)

    def _look(self, pod: Pod, now: datetime, *, is_live: bool, is_gone: bool = False) -> None:
        scope = self.scope
        if pod.uid in scope.done:
            return
        held = scope.held.get(pod.uid)
        pod = pod.with_history(held.pod if held is not None else scope.running.get(pod.uid))
        if not (pod.has_ended or is_gone or held is not None):
            if pod.has_run:
                scope.running[pod.uid] = pod
            return
        fallback = Ending(now, "seen") if is_live else None
        if scope.running.pop(pod.uid, None) is not None and not is_live:
            fallback = Ending(scope.alive or now, "last_seen")
        if not pod.has_run and not self._may_have_run(pod, is_live=is_live):
            self.ignored[NEVER_RAN] += 1
            if not is_gone:
                scope.done.add(pod.uid)
            return
        if held is None:
            held = Held(pod, seen=now, due=now, fallback=fallback, is_gone=is_gone)
        held.pod, held.is_gone = pod, held.is_gone or is_gone
        held.ending = settled(pod, held.fallback) if is_gone else by_containers(pod)
        self._hold(held)

    def _may_have_run(self, pod: Pod, *, is_live: bool) -> bool:
        """Whether a pod without any container's status may have run before we saw it."""
        return not is_live and pod.start is not None and any(not each.state for each in pod.containers)

    def _hold(self, held: Held) -> None:
        """Keep a pod until its times, and its usage where that is wanted, may be known."""
        self.scope.held[held.pod.uid] = held
        if held.tries:
            return
        held.due = held.seen if held.ending is not None else held.seen + self._settle
        if self._backlog is not None and held.ending is not None:
            held.due = max(held.due, held.ending.stop + self._backlog)

    def _has_left(self, pod: Pod) -> bool:
        # With a label selector, a pod whose labels are changed is told of as if it were deleted.
        return bool(self.scope.selector) and self._is_there(pod)
