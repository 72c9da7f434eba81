"""Finds the jobs on this node and notices when they go.

All folders of a layout are listed when the kernel tells that one has come or gone, and now and then in any case; where
it cannot tell of all, it is looked every time whether the known ones are still there. A folder that was removed and
made again under the same name is another one, by its inode, so the job in it is another, too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Container, Iterable, Mapping, Sequence

from msgspec import Struct

from jobmeter.model.job import JobIdentity, RunningJob
from jobmeter.observe.cgroups import UNIFIED, Hierarchies
from jobmeter.observe.groups.members import within
from jobmeter.observe.host import Host
from jobmeter.observe.inotify import Watcher
from jobmeter.observe.jobs.changes import Changes
from jobmeter.observe.jobs.listing import Found, Key, Listing, inode, preference
from jobmeter.observe.jobs.profile import Profile

RESCAN_SECONDS = 5.0
"""How often all folders are listed where the kernel does not tell of all that comes, such as another job in a slot."""
TOLD_RESCAN_SECONDS = 30.0
"""How often they are listed where the kernel tells of them."""
UNTOLD_SECONDS = 1.0
"""How often they are listed where the kernel tells of nothing, or refuses to watch a folder."""
RETRY_SECONDS = 0.25
"""How soon is asked again which job it is that nothing told yet; the longer nothing does, the later."""
LEFT_SECONDS = 10.0
"""For how long a job may be in some of its folders only, with no process there, until it is taken to have ended."""

_SHARE, _BURST_SECONDS = 0.01, 0.1
"""How much of a core listing may take however much the kernel tells, and how much at once."""

log = logging.getLogger("jobmeter.observe")


class _Folder(Struct):
    """A job's folder in the trees it is in: by controller, its path and inode; `first` is the tree that counts most."""

    first: str
    places: dict[str, tuple[str, int]]
    job: RunningJob
    number: int | None = None
    partly_gone: float | None = None
    """Since when it is gone in the first of its trees."""

    def is_another(self, trees: Mapping[str, Found]) -> bool:
        """Whether what is there now is of another job: by its identity, or made anew in the tree that counts most."""
        if all(found.identity != self.job.identity for found in trees.values()):
            return True
        found, known = trees.get(self.first), self.places.get(self.first)
        return found is not None and (known is None or known[1] != found.inode)


class _Allowance:
    """How much time may be spent on listing: a share of what passes, and some more at once."""

    def __init__(self) -> None:
        self._seconds = _BURST_SECONDS
        self._at = time.monotonic()

    def spend(self, seconds: float) -> None:
        """So much was spent."""
        self._renew()
        self._seconds -= seconds

    def wait_seconds(self) -> float:
        """For how long nothing may be spent."""
        self._renew()
        return max(0.0, -self._seconds / _SHARE)

    def _renew(self) -> None:
        moment = time.monotonic()
        self._seconds = min(_BURST_SECONDS, self._seconds + (moment - self._at) * _SHARE)
        self._at = moment


class JobFinder:
    """The jobs of this node. `descriptor` becomes readable when it is worth to look at once, None without inotify."""

    def __init__(
        self, host: Host, trees: Hierarchies, profiles: Sequence[Profile], *, fixed: Sequence[RunningJob] = ()
    ):
        self._fixed = tuple(fixed)
        self._folders: dict[Key, _Folder] = {}
        self._left: set[tuple[str, int]] = set()
        self._twice: set[Key] = set()
        self._scanned = -1.0e9
        self._first = True
        self._is_stirred = False
        self._is_untold = False
        self._is_going = False
        self._is_partly_gone = False
        self._allowance = _Allowance()
        try:
            self._watcher: Watcher | None = Watcher()
        except OSError as fault:
            log.info("jobs.no_inotify reason=%r", str(fault))
            self._watcher = None
        self._listing = Listing(host, trees, profiles, self._watcher)

    @property
    def descriptor(self) -> int | None:
        """What to wait for beside the clock."""
        return None if self._watcher is None else self._watcher.descriptor

    @property
    def jobs(self) -> tuple[RunningJob, ...]:
        """The jobs as of the last look."""
        return (*self._fixed, *(folder.job for folder in self._folders.values()))

    @property
    def patience_seconds(self) -> float:
        """After how long to look again when `descriptor` says nothing."""
        if self._is_going:
            return RETRY_SECONDS
        soon = 0.0 if self._is_stirred else min(self._rescan_seconds(), RESCAN_SECONDS)
        return max(soon, self._allowance.wait_seconds())

    def close(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.close()

    def look(self, now_ns: int) -> Changes:
        """See what has come and gone."""
        stirred, files = (False, set[int]()) if self._watcher is None else self._watcher.news()
        emptied = tuple(folder.job for folder in self._folders.values() if folder.number in files) if files else ()
        self._is_stirred |= stirred
        moment = time.monotonic()
        is_due = not self._allowance.wait_seconds() and (
            self._is_stirred or moment - self._scanned >= self._rescan_seconds()
        )
        if not (stirred or is_due or self._may_go_silently()):
            return Changes((), (), emptied)
        before = {key: folder.job for key, folder in self._folders.items()}
        known = {place for folder in self._folders.values() for place in _numbered(folder)}
        ended = self._gone(moment)
        if is_due:
            self._scanned, self._is_stirred = moment, False
            used = time.thread_time()
            ended += self._scan(now_ns, known)
            self._allowance.spend(time.thread_time() - used)
        begun = tuple(
            folder.job
            for key, folder in self._folders.items()
            if key not in before or before[key].found_ns != folder.job.found_ns
        )
        self._first = False
        return Changes(begun, tuple(ended), tuple(job for job in emptied if job not in ended))

    def _may_go_silently(self) -> bool:
        """Whether folders may be removed that the kernel tells nothing of, or some of a job's have been already."""
        return self._is_partly_gone or self._watcher is None or not self._watcher.is_whole

    def _rescan_seconds(self) -> float:
        if self._watcher is None or not self._watcher.is_whole:
            return UNTOLD_SECONDS
        if (asked := self._listing.unnamed_seconds) is not None:
            return min(RESCAN_SECONDS, max(RETRY_SECONDS, asked / 4))
        return RESCAN_SECONDS if self._is_untold else TOLD_RESCAN_SECONDS

    def _gone(self, moment: float) -> list[RunningJob]:
        """Forget the jobs of which no folder is left, and those that only left folders behind."""
        ended = []
        self._is_going = self._is_partly_gone = False
        for key, folder in list(self._folders.items()):
            places = folder.places
            for controller, (path, number) in list(places.items()):
                if inode(path) in (number, -1):
                    break
                del places[controller]
                self._is_going = True  # the others follow
                folder.partly_gone = folder.partly_gone or moment
            if folder.partly_gone is not None and places:
                self._is_partly_gone = True
                if moment - folder.partly_gone < LEFT_SECONDS or _is_lived_in(places.values()):
                    continue
                log.info(
                    "jobs.left_folders job=%s folders=%s",
                    folder.job.identity.shown,
                    [path for path, _ in places.values()],
                )
                self._left.update(places.values())
            elif places:
                continue
            del self._folders[key]
            ended.append(folder.job)
        return ended

    def _scan(self, now_ns: int, known: set[tuple[str, int]]) -> list[RunningJob]:
        """Take in what is there now; gives the jobs whose folder has another job in it now."""
        replaced = []
        seen = self._listing.all()
        here = {folder.job.identity for folder in self._folders.values()}
        for key, trees in seen.items():
            folder = self._folders.get(key)
            if folder is not None and folder.is_another(trees):
                here.discard(folder.job.identity)
                replaced.append(self._folders.pop(key).job)
                folder = None
            if folder is not None:
                self._grow(folder, trees)
            elif self._is_own(key, trees, here):
                here.add(self._begin(key, trees, now_ns, known).identity)
        self._is_untold = self._listing.may_change_silently
        self._left &= {(found.path, found.inode) for trees in seen.values() for found in trees.values()}
        self._twice &= seen.keys()
        return replaced

    def _is_own(self, key: Key, trees: Mapping[str, Found], here: Container[JobIdentity]) -> bool:
        """Whether a folder is a job's: not what an ended one left behind, nor the second of one that is there."""
        if all((found.path, found.inode) in self._left for found in trees.values()):
            return False
        first = next(iter(trees.values()))
        if first.identity not in here:
            return True
        if key not in self._twice:
            log.warning("jobs.found_twice job=%s left_out=%s", first.identity.shown, first.path)
        self._twice.add(key)
        return False

    def _begin(
        self, key: Key, trees: Mapping[str, Found], now_ns: int, known: Container[tuple[str, int]]
    ) -> RunningJob:
        """A job that is new, but for its folder where that was another job's before."""
        name, first = next(iter(trees.items()))
        is_new = not self._first and (name, first.inode) not in known
        cgroups = {each: found.below for each, found in trees.items() if found.below}
        job = RunningJob(first.identity, cgroups, now_ns, now_ns if is_new else None)
        self._folders[key] = _Folder(name, {}, job)
        self._place(self._folders[key], trees)
        log.debug("jobs.begun manager=%s job=%s", job.identity.manager, job.identity.job)
        return job

    def _grow(self, folder: _Folder, trees: Mapping[str, Found]) -> None:
        """A batch system makes a job's folders one after the other; one may also have been made anew."""
        new = {
            name: found
            for name, found in trees.items()
            if found.below and folder.places.get(name) != (found.path, found.inode)
        }
        if new:
            job = folder.job
            cgroups = {**job.cgroups, **{name: found.below for name, found in new.items()}}
            folder.job = RunningJob(job.identity, cgroups, job.found_ns, job.since_ns)
            self._place(folder, trees)

    def _place(self, folder: _Folder, trees: Mapping[str, Found]) -> None:
        folder.places = {name: (found.path, found.inode) for name, found in trees.items()}
        folder.first = min(folder.first, *folder.places, key=preference)
        if UNIFIED in folder.places and self._watcher is not None:
            folder.number = self._watcher.watch_file(f"{folder.places[UNIFIED][0]}/cgroup.events")


def _numbered(folder: _Folder) -> list[tuple[str, int]]:
    """The controllers and inodes of its places: what a folder is known by though it was renamed."""
    return [(name, number) for name, (_, number) in folder.places.items()]


def _is_lived_in(places: Iterable[tuple[str, int]]) -> bool:
    """Whether there is a process in any of the folders or below."""
    for path, _ in places:
        for place in within(path):
            try:
                with open(f"{place}/cgroup.procs", "rb", buffering=0) as file:  # noqa: PTH123 - as its neighbours
                    if file.read(1):
                        return True
            except OSError:
                continue
    return False
