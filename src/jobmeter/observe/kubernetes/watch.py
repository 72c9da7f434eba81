"""Follows namespaces, each in a thread of its own that lists, watches and puts what it learns into one inbox.

A watch that ends or is cut off goes on from the last version that was told. A version that is too old, or three times
garbage at the same version, leads to a new list. All that is known of pods is kept by the reader of the inbox.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType

import msgspec
from msgspec import Struct

from jobmeter.contract import SourceUnreadable
from jobmeter.observe.kubernetes import wire
from jobmeter.observe.kubernetes.api import Api, ApiAway, ApiDenied, VersionGone, refusal_in, version_of

INBOX_MESSAGES = 1000
_PAGES_AHEAD = 3
_TRIES = 3
_SHORT_SECONDS = 1.0
_PAUSE_SECONDS = 0.1
_PAUSE_LONGEST_SECONDS = 5.0
_END_SECONDS = 5.0

log = logging.getLogger("jobmeter.observe")


class Page(Struct, frozen=True):
    """A page of a list: the pods' texts. The first begins a list of all, the last ends it at `version`."""

    namespace: str
    pods: tuple[bytes, ...]
    version: str
    is_first: bool
    is_last: bool


class Told(Struct, frozen=True):
    """A line of a watch: ADDED, MODIFIED, DELETED with the pod's text, or BOOKMARK."""

    namespace: str
    kind: str
    pod: bytes
    version: str


class Connected(Struct, frozen=True):
    """A watch was opened, or it ended and will be opened again."""

    namespace: str
    is_open: bool


class Ended(Struct, frozen=True):
    """A namespace is not followed any more: the time is over, or for the fault."""

    namespace: str
    fault: Exception | None


Message = Page | Told | Connected | Ended


class Plan(Struct, frozen=True):
    """What to follow: from which version ("": list first), by which labels, how many pods in one answer."""

    versions: Mapping[str, str]
    selector: str
    page_size: int
    seconds: float


class Watch:
    """The threads of a plan, from entering to leaving the `with`."""

    def __init__(self, plan: Plan, make_api: Callable[[], Api]) -> None:
        self.inbox: queue.Queue[Message] = queue.Queue(INBOX_MESSAGES)
        self._stop = threading.Event()
        deadline = time.monotonic() + plan.seconds
        self._followers = [
            _Follower(
                namespace, version, plan=plan, deadline=deadline, api=make_api(), inbox=self.inbox, stop=self._stop
            )
            for namespace, version in plan.versions.items()
        ]

    def __enter__(self) -> Watch:
        for follower in self._followers:
            follower.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        end = time.monotonic() + _END_SECONDS
        for follower in self._followers:
            while follower.is_alive() and time.monotonic() < end:
                follower.wake()  # again and again: it may have been about to connect
                follower.join(0.05)


class _Follower(threading.Thread):
    """Follows one namespace until the deadline or the stop."""

    def __init__(  # noqa: PLR0913 - what a thread must be given
        self,
        namespace: str,
        version: str,
        *,
        plan: Plan,
        deadline: float,
        api: Api,
        inbox: queue.Queue[Message],
        stop: threading.Event,
    ) -> None:
        super().__init__(name=f"watch {namespace}", daemon=True)
        self._namespace = namespace
        self._version = version
        self._plan = plan
        self._deadline = deadline
        self._api = api
        self._inbox = inbox
        self._stopped = stop
        self._garbage = 0
        self._barren = 0

    def run(self) -> None:
        fault: Exception | None = ApiAway("the watch ended by a fault of its own")
        try:
            self._follow()
            fault = None
        except (ApiAway, ApiDenied, SourceUnreadable) as known:
            fault = known
        finally:
            self._api.close()
            self._put(Ended(self._namespace, fault))

    def wake(self) -> None:
        self._api.wake()

    def _follow(self) -> None:
        failures = 0
        while not self._is_over():
            try:
                if not self._version:
                    self._list()
                self._watch()
                failures = 0
            except VersionGone as gone:
                failures += 1
                log.info("kubernetes.listing_again namespace=%s reason=%r", self._namespace, str(gone))
                self._version = ""
                if failures > _TRIES:
                    raise ApiAway(f"no list serves for a watch: {gone}") from gone
            except ApiAway:
                failures += 1
                if failures >= _TRIES or self._stopped.is_set():
                    raise
                self._stopped.wait(_PAUSE_SECONDS * 2**failures)

    def _list(self) -> None:
        is_first, version = True, ""
        for page in self._api.pages(self._namespace, self._plan.selector, self._plan.page_size):
            version = page.metadata.resource_version
            is_last = not page.metadata.continue_
            items = tuple(bytes(raw) for raw in page.items or ())
            self._put(Page(self._namespace, items, version, is_first, is_last))
            is_first = False
            while self._inbox.qsize() > _PAGES_AHEAD and not self._stopped.wait(_PAUSE_SECONDS / 10):
                pass  # pages are large: no more of them in memory than keep the reader busy
        self._version = version

    def _watch(self) -> None:
        """One watch from open to end. Raises what keeps it from being opened, and VersionGone."""
        began, is_open, before = time.monotonic(), False, self._version
        try:
            seconds = max(1, round(self._deadline - began))
            with self._api.watch(self._namespace, self._plan.selector, self._version, seconds) as lines:
                is_open = True
                self._put(Connected(self._namespace, is_open=True))
                for line in lines:
                    self._tell(line)
                    if self._stopped.is_set():
                        return
        except ApiAway as cut:
            if not is_open:
                raise
            log.debug("kubernetes.watch_cut namespace=%s reason=%r", self._namespace, str(cut))
        if self._is_over():
            return
        self._put(Connected(self._namespace, is_open=False))
        self._barren = 0 if self._version != before else self._barren + 1
        if time.monotonic() - began < _SHORT_SECONDS:
            self._stopped.wait(min(_PAUSE_LONGEST_SECONDS, _PAUSE_SECONDS * 2 ** min(self._barren, 10)))

    def _tell(self, line: bytes) -> None:
        try:
            event = msgspec.json.decode(line, type=wire.WatchEvent)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._garbage += 1
            if self._garbage >= _TRIES:
                self._garbage = 0
                raise VersionGone("the watch tells what is no event") from None
            raise ApiAway("a line of the watch is no event") from None
        raw = bytes(event.object)
        if event.type == "ERROR":
            raise refusal_in(raw)
        self._garbage = 0
        version = version_of(raw)
        self._put(Told(self._namespace, event.type, raw, version))
        self._version = version or self._version

    def _put(self, message: Message) -> None:
        while not self._stopped.is_set():
            try:
                self._inbox.put(message, timeout=0.5)
            except queue.Full:
                continue
            return

    def _is_over(self) -> bool:
        return self._stopped.is_set() or time.monotonic() >= self._deadline
