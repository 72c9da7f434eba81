"""One round of following: messages in, batches out, and the state that the next round begins with."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import datetime, timedelta

from jobmeter.contract import Clock, JobBatch, Refused
from jobmeter.model.record import Record
from jobmeter.observe.host import Host
from jobmeter.observe.kubernetes.api import Api, ApiAway, ApiDenied, VersionGone
from jobmeter.observe.kubernetes.cursor import Held, Scope, State
from jobmeter.observe.kubernetes.ending import Ending
from jobmeter.observe.kubernetes.ledger import Ledger
from jobmeter.observe.kubernetes.missed import STARTED, missed
from jobmeter.observe.kubernetes.pod import Pod, parse
from jobmeter.observe.kubernetes.record import Shaper
from jobmeter.observe.kubernetes.settings import Settings
from jobmeter.observe.kubernetes.usage import COMPONENTS, Usage, UsageAway, UsageUnfit
from jobmeter.observe.kubernetes.watch import Connected, Ended, Message, Page, Told
from jobmeter.observe.lastcheck import resume_from
from jobmeter.observe.shape.values import Unreadable

BATCH_RECORDS = 500
_CHECKPOINT = timedelta(seconds=10)
_USAGES_AT_ONCE = 25

log = logging.getLogger("jobmeter.observe")


def first_state(settings: Settings, host: Host, now: datetime) -> State:
    """The state of a source that was never read; it takes over from AUDITOR's collector. Raises StateUnreadable."""
    imported = resume_from(host.path(settings.state_file), checks=("lastcheck", "time"), queue=("mergequeue", "record"))
    first = max(imported, settings.earliest_datetime or imported) if imported else settings.earliest_datetime or now
    first = first.replace(microsecond=0)  # containers end in whole seconds
    log.info("kubernetes.beginning after=%s taken_over=%s", first.isoformat(), imported is not None)
    return State({name: Scope(first, settings.job_filter.selector) for name in settings.job_filter.namespace})


class Round:
    """Works on one state. `denied` and `away` say why namespaces could not be followed.

    Those in `denied_before` are known to be denied: it was logged.
    """

    def __init__(self, settings: Settings, state: State, clock: Clock, api: Api, usage: Usage | None) -> None:
        self.denied_before: set[str] = set()
        self.denied: dict[str, str] = {}
        self.away: dict[str, str] = {}
        self._settings = settings
        self._clock = clock
        self._api = api
        self._usage = usage
        self._usage_after: datetime | None = None
        self._shaper = Shaper(settings)
        now = clock.now()
        selector = settings.job_filter.selector
        self._state = State(
            {
                name: state.scopes.get(name) or Scope(now.replace(microsecond=0), selector)
                for name in settings.job_filter.namespace
            }
        )
        self._ledgers = {name: self._ledger(scope) for name, scope in self._state.scopes.items()}
        self._connected: set[str] = set()
        self._ended: set[str] = set()
        self._records: list[Record] = []
        self._refused: list[Refused] = []
        self._taken = 0
        self._stored = now
        self._is_urgent = not any(scope.listed for scope in self._state.scopes.values())

    def versions(self, now: datetime) -> dict[str, str]:
        """Per namespace the version to go on from; "" where all must be listed: never done, long ago, other labels."""
        found = {}
        for name, scope in self._state.scopes.items():
            age = now - scope.listed if scope.listed is not None else None
            fits = scope.selector == self._settings.job_filter.selector
            fresh = age is not None and timedelta(0) <= age < timedelta(seconds=self._settings.relist_seconds)
            found[name] = scope.version if fits and fresh else ""
            scope.selector = self._settings.job_filter.selector
        return found

    def take(self, message: Message) -> None:
        """Work in one message. Raises ApiAway or ApiDenied when a question back has no answer."""
        ledger, now = self._ledgers[message.namespace], self._clock.now()
        self._taken += len(message.pods) if isinstance(message, Page) else 1
        if isinstance(message, Page):
            pods = [pod for raw in message.pods if (pod := self._parsed(raw)) is not None]
            ledger.page(pods, now, is_first=message.is_first)
            if message.is_last:
                self._look_for_missed(message.namespace, ledger, now)
                ledger.listed(message.version, now)
                self._is_urgent = True
                log.info("kubernetes.listed namespace=%s running=%d", message.namespace, len(ledger.scope.running))
        elif isinstance(message, Told):
            if message.kind in ("ADDED", "MODIFIED", "DELETED") and (pod := self._parsed(message.pod)) is not None:
                ledger.told(message.kind, pod, now)
            ledger.scope.version = message.version or ledger.scope.version
            ledger.scope.alive = now
        elif isinstance(message, Connected) and not message.is_open:
            self._connected.discard(message.namespace)
        elif isinstance(message, Connected):
            self._connected.add(message.namespace)
            if message.namespace in self.denied_before:
                log.info("kubernetes.allowed_again namespace=%s", message.namespace)
                self.denied_before.discard(message.namespace)
        else:
            self._end(message)

    def settle(self) -> bool:
        """Make records of pods whose time has come; True when there may be more of them."""
        now = self._clock.now()
        limit = BATCH_RECORDS if self._usage is None else _USAGES_AT_ONCE
        is_more = False
        for ledger in self._ledgers.values():
            if self._usage_after is not None and now < self._usage_after:
                return False
            due = ledger.due(now, limit)
            is_more = is_more or len(due) == limit
            for held, ending in due:
                if (used := self._used(held, ending, now)) is not None:
                    self._add(held.pod, ending, used)
                    ledger.finish(held)
                elif self._usage_after is not None and now < self._usage_after:
                    return False
        return is_more

    def is_full(self) -> bool:
        """Whether a batch should go before more is taken in."""
        return self._taken >= BATCH_RECORDS

    def is_over(self) -> bool:
        """Whether no namespace is followed any more."""
        return len(self._ended) == len(self._ledgers)

    def is_connected(self) -> bool:
        """Whether every namespace is being watched, or will not be."""
        return len(self._connected | self._ended) == len(self._ledgers)

    def batch(self, *, is_last: bool) -> JobBatch | None:
        """What there is by now, None when that is nothing. The cursor is large and goes along only now and then."""
        now, self._taken = self._clock.now(), 0
        is_due = is_last or self._is_urgent or not timedelta(0) <= now - self._stored < _CHECKPOINT
        refused = [*self._refused, *(entry for ledger in self._ledgers.values() for entry in ledger.refused)]
        if not (is_due or self._records or refused):
            return None
        if is_due:
            self._stored, self._is_urgent = now, False
            for name in self._connected - self._ended:
                self._state.scopes[name].alive = now
        ignored = sum((ledger.ignored for ledger in self._ledgers.values()), Counter[str]())
        seen = len(self._records) + len(refused) + ignored.total()
        cursor = self._state.text() if is_due else ""
        batch = JobBatch(tuple(self._records), tuple(refused), cursor, seen, dict(ignored), first_counts=True)
        self._records, self._refused = [], []
        for ledger in self._ledgers.values():
            ledger.refused.clear()
            ledger.ignored.clear()
        return batch

    def last_batch(self) -> JobBatch:
        """What is left, with the cursor."""
        batch = self.batch(is_last=True)
        return batch if batch is not None else JobBatch((), (), self._state.text(), 0, {})

    def _look_for_missed(self, namespace: str, ledger: Ledger, now: datetime) -> None:
        """Refuse the pods that only events tell of. Whatever stands in the way of that stands in no other's."""
        since = ledger.scope.alive or ledger.scope.listed
        if since is None or not self._settings.missed_pods:
            return
        try:
            events = list(self._api.events(namespace, STARTED, self._settings.page_size))
            found = missed(
                events, since, now, lambda pod: ledger.knows(pod.uid) or self._api.has(pod.namespace, pod.name, pod.uid)
            )
        except (ApiAway, ApiDenied, VersionGone) as fault:
            log.warning("kubernetes.no_events namespace=%s reason=%r", namespace, str(fault))
            return
        if found:
            log.error("kubernetes.missed namespace=%s pods=%d since=%s", namespace, len(found), since.isoformat())
        if not self._settings.job_filter.selector:
            # An event does not tell the labels of its pod.
            self._refused += found

    def _ledger(self, scope: Scope) -> Ledger:
        settle = timedelta(seconds=self._settings.settle_seconds)
        backlog = None if self._usage is None else timedelta(seconds=self._settings.backlog_interval)
        return Ledger(scope, settle, backlog, lambda pod: self._api.has(pod.namespace, pod.name, pod.uid))

    def _parsed(self, raw: bytes) -> Pod | None:
        try:
            return parse(raw, self._settings.label_names, self._settings.annotation_names)
        except Unreadable as fault:
            self._refused.append(Refused(raw.decode("utf-8", "surrogateescape"), str(fault)))
            return None

    def _end(self, message: Ended) -> None:
        self._ended.add(message.namespace)
        if isinstance(message.fault, ApiDenied):
            if message.namespace not in self.denied_before:
                log.error("kubernetes.denied namespace=%s reason=%r", message.namespace, str(message.fault))
            self.denied[message.namespace] = str(message.fault)
        elif message.fault is not None:
            self.away[message.namespace] = str(message.fault)
            log.warning("kubernetes.away namespace=%s reason=%r", message.namespace, str(message.fault))

    def _add(self, pod: Pod, ending: Ending, used: dict[str, int]) -> None:
        shaped = self._shaper.shape(pod, ending, used)
        if isinstance(shaped, Record):
            self._records.append(shaped)
        else:
            self._refused.append(shaped)

    def _used(self, held: Held, ending: Ending, now: datetime) -> dict[str, int] | None:
        """What the pod used, as far as that will ever be known; None when it is to be asked again later."""
        pod = held.pod
        if self._usage is None or pod.start is None:
            return {}
        try:
            known = self._usage.of(pod.namespace, pod.name, pod.start, ending.stop)
        except UsageUnfit as fault:
            log.warning("kubernetes.usage_unfit pod=%s/%s reason=%r", pod.namespace, pod.name, str(fault))
            return {}
        except UsageAway as fault:
            if now - held.seen > timedelta(seconds=self._settings.usage_patience_seconds):
                return {}
            log.warning("kubernetes.usage_away reason=%r", str(fault))
            held.due = self._usage_after = now + timedelta(seconds=self._settings.usage_interval_seconds)
            return None
        if len(known) < len(COMPONENTS) and held.tries < self._settings.backlog_maxretries:
            held.tries += 1
            held.due = now + timedelta(seconds=self._settings.backlog_interval)
            return None
        return known
