"""The pods of a Kubernetes cluster that ended, listed once and then watched, so that short ones are not missed.

The API server tells of changes since a version; the cursor keeps that version per namespace, the pods that run, and
those that ended and are not recorded yet. Where the version is too old, everything is listed again, and what ran before
and is gone is recorded by what was last seen. One thread a namespace waits for the API server (`observe/kubernetes/
watch.py`); everything else happens here, in the thread of the caller.
"""

from __future__ import annotations

import logging
import queue
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime

import msgspec

from jobmeter.contract import JobBatch, JobSource, Refused, SourceUnreadable
from jobmeter.model.period import Period
from jobmeter.model.record import Record
from jobmeter.observe.host import Host
from jobmeter.observe.kubernetes.access import find_access
from jobmeter.observe.kubernetes.api import Api, ApiAway, ApiDenied, VersionGone
from jobmeter.observe.kubernetes.cursor import CursorUnreadable, State, state_of
from jobmeter.observe.kubernetes.ending import Ending, settled
from jobmeter.observe.kubernetes.pod import Pod, parse
from jobmeter.observe.kubernetes.record import Shaper
from jobmeter.observe.kubernetes.round import Round, first_state
from jobmeter.observe.kubernetes.settings import Settings
from jobmeter.observe.kubernetes.usage import Usage, UsageAway, UsageUnfit
from jobmeter.observe.kubernetes.watch import Plan, Watch
from jobmeter.observe.lastcheck import StateUnreadable
from jobmeter.observe.shape.values import Unreadable

__all__ = ["KubernetesSource", "Settings", "open_source"]

READ_SECONDS = 300.0
"""The longest that a `read` goes on while there is ever more to hear."""

_ENDED_ONLY = "status.phase!=Pending,status.phase!=Running"

log = logging.getLogger("jobmeter.observe")


def open_source(settings: Settings, host: Host) -> JobSource:
    """The job source of these settings on this host."""
    log.info(
        "kubernetes.opened namespaces=%s selector=%r usage=%s",
        ",".join(settings.job_filter.namespace),
        settings.job_filter.selector,
        settings.prometheus_addr or "none",
    )
    return KubernetesSource(settings, host)


class KubernetesSource:
    """A FollowingSource; see `jobmeter.contract`.

    A `read` ends when nothing was heard for `quiet_seconds`; batches are gathered for as long.
    """

    def __init__(self, settings: Settings, host: Host, quiet_seconds: float = 1.0) -> None:
        self._settings = settings
        self._quiet_seconds = quiet_seconds
        self._host = host
        self._shaper = Shaper(settings)
        self._denied: set[str] = set()  # for the log only

    def read(self, cursor: str | None, period: Period | None = None) -> Iterator[JobBatch]:
        """What ended since the cursor, until nothing more is heard; or what stands there of a period."""
        if period is None:
            return self._round(cursor, READ_SECONDS, until_quiet=True)
        return self._again(cursor or "", period)

    def follow(self, cursor: str | None, seconds: float) -> Iterator[JobBatch]:
        """What ended since the cursor, and what ends within `seconds`."""
        return self._round(cursor, seconds, until_quiet=False)

    def _round(self, cursor: str | None, seconds: float, *, until_quiet: bool) -> Iterator[JobBatch]:
        now = self._host.clock.now()
        state = self._state(cursor, now)
        api = self._api()
        usage = self._usage()
        try:
            work = Round(self._settings, state, self._host.clock, api, usage)
            work.denied_before = self._denied
            plan = Plan(
                versions=work.versions(now),
                selector=self._settings.job_filter.selector,
                page_size=self._settings.page_size,
                seconds=seconds,
            )
            with Watch(plan, self._api) as watch:
                yield from _batches(work, watch, self._quiet_seconds, until_quiet=until_quiet)
        except (ApiAway, ApiDenied, VersionGone) as fault:
            raise SourceUnreadable(str(fault)) from fault
        finally:
            api.close()
            if usage is not None:
                usage.close()
        self._judge(work)

    def _judge(self, work: Round) -> None:
        """Raise SourceUnreadable for namespaces that could not be followed, unless it is for want of a right."""
        self._denied = set(work.denied)
        if work.away:
            raise SourceUnreadable("; ".join(f"namespace {name}: {why}" for name, why in sorted(work.away.items())))
        if len(work.denied) == len(self._settings.job_filter.namespace):
            raise SourceUnreadable(f"no namespace may be read: {next(iter(work.denied.values()))}")

    def _state(self, cursor: str | None, now: datetime) -> State:
        try:
            return first_state(self._settings, self._host, now) if cursor is None else state_of(cursor)
        except (CursorUnreadable, StateUnreadable) as fault:
            raise SourceUnreadable(str(fault)) from None

    def _api(self) -> Api:
        access = find_access(self._settings.kubeconfig, self._settings.context, self._host)
        log.debug("kubernetes.access address=%s by=%s", access.address, access.told)
        return Api(access, self._settings.api_timeout_seconds)

    def _usage(self) -> Usage | None:
        address = self._settings.prometheus_url
        return None if address is None else Usage(address, self._settings.prometheus_timeout)

    def _again(self, cursor: str, period: Period) -> Iterator[JobBatch]:
        """The pods that still stand in the API server and ended in a period."""
        api, usage = self._api(), self._usage()
        try:
            for namespace in self._settings.job_filter.namespace:
                try:
                    selector, size = self._settings.job_filter.selector, self._settings.page_size
                    for page in api.pages(namespace, selector, size, _ENDED_ONLY):
                        yield self._page(page.items or [], period, cursor, usage)
                except ApiDenied as fault:
                    log.error("kubernetes.denied namespace=%s reason=%r", namespace, str(fault))  # noqa: TRY400
        except (ApiAway, VersionGone, UsageAway) as fault:
            raise SourceUnreadable(str(fault)) from fault
        finally:
            api.close()
            if usage is not None:
                usage.close()

    def _page(self, items: list[msgspec.Raw], period: Period, cursor: str, usage: Usage | None) -> JobBatch:
        records: list[Record] = []
        refused: list[Refused] = []
        ignored: Counter[str] = Counter()
        for raw in map(bytes, items):
            try:
                pod = parse(raw, self._settings.label_names, self._settings.annotation_names)
            except Unreadable as fault:
                refused.append(Refused(raw.decode("utf-8", "surrogateescape"), str(fault)))
                continue
            ending = settled(pod, None)
            if not pod.has_ended:
                ignored["not ended"] += 1
            elif ending is None:
                ignored["when it ended is not known"] += 1
            elif not period.start <= ending.stop < period.stop:
                ignored["not of the period"] += 1
            else:
                shaped = self._shaper.shape(pod, ending, _used(usage, pod, ending))
                (records if isinstance(shaped, Record) else refused).append(shaped)  # type: ignore[arg-type]
        return JobBatch(tuple(records), tuple(refused), cursor, len(items), dict(ignored), first_counts=True)


def _used(usage: Usage | None, pod: Pod, ending: Ending) -> dict[str, int]:
    if usage is None or pod.start is None:
        return {}
    try:
        return usage.of(pod.namespace, pod.name, pod.start, ending.stop)
    except UsageUnfit as fault:
        log.warning("kubernetes.usage_unfit pod=%s/%s reason=%r", pod.namespace, pod.name, str(fault))
        return {}


def _batches(work: Round, watch: Watch, quiet_seconds: float, *, until_quiet: bool) -> Iterator[JobBatch]:
    """Batches as they become due, the last with the cursor at the end."""
    heard = time.monotonic()
    is_more = False
    while is_more or not work.is_over():
        flush = time.monotonic() + (0.0 if is_more else quiet_seconds)
        while not (work.is_full() or work.is_over()):
            try:
                work.take(watch.inbox.get(timeout=max(0.0, flush - time.monotonic())))
            except queue.Empty:
                break
            heard = time.monotonic()
        is_more = work.settle()
        if (batch := work.batch(is_last=False)) is not None:
            yield batch
        if until_quiet and not is_more and work.is_connected() and time.monotonic() - heard > quiet_seconds:
            break
    yield work.last_batch()
