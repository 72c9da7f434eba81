"""Finds the jobs on this node and notices when they go.

All folders of a layout are listed when the kernel tells that one has come or gone, and now and then in any case; where
it cannot tell of all, it is looked every time whether the known ones are still there. A folder that was removed and
made again under the same name is another one, by its inode, so the job in it is another, too.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from jobmeter.model.job import JobIdentity, RunningJob
from jobmeter.observe.cgroups import PREFERRED, UNIFIED, Hierarchies
from jobmeter.observe.host import Host
from jobmeter.observe.inotify import Watcher
from jobmeter.observe.jobs.changes import Changes
from jobmeter.observe.jobs.naming import Unnamed, identity
from jobmeter.observe.jobs.profile import Level, Naming, Profile

RESCAN_SECONDS = 5.0
"""How often all folders are listed where the kernel does not tell of all that comes, such as another job in a slot."""
TOLD_RESCAN_SECONDS = 30.0
"""How often they are listed where the kernel tells of them."""
UNTOLD_LOOK_SECONDS = 1.0
RETRY_SECONDS = 0.25
"""How soon is asked again which job it is that nothing told yet."""
_GROWING_NS = 10_000_000_000

log = logging.getLogger("jobmeter.observe")


class _Folder(Struct):
    """A job's folder in the trees it is in: by controller, its path and inode."""

    profile: int
    places: dict[str, tuple[str, int]]
    job: RunningJob
    number: int | None = None
    is_partly_gone: bool = False


class _Found(Struct, frozen=True):
    """A folder as the listing saw it."""

    controller: str
    below: str
    path: str
    inode: int
    identity: JobIdentity


class JobFinder:
    """The jobs of this node. `descriptor` becomes readable when it is worth to look at once, None without inotify."""

    def __init__(
        self, host: Host, trees: Hierarchies, profiles: Sequence[Profile], *, fixed: Sequence[RunningJob] = ()
    ):
        self._host = host
        self._trees = trees
        self._profiles = tuple(profiles)
        self._fixed = tuple(fixed)
        self._folders: dict[tuple[int, str], _Folder] = {}
        self._unnamed: set[str] = set()
        self._names: dict[str, tuple[int, JobIdentity]] = {}
        self._scanned = -1.0e9
        self._first = True
        self._is_untold = False
        self._is_going = False
        self._is_partly_gone = False
        try:
            self._watcher: Watcher | None = Watcher()
        except OSError as fault:
            log.info("jobs.no_inotify reason=%r", str(fault))
            self._watcher = None

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
        return min(self._rescan_seconds(), UNTOLD_LOOK_SECONDS if self._watcher is None else RESCAN_SECONDS)

    def close(self) -> None:
        """Stop watching."""
        if self._watcher is not None:
            self._watcher.close()

    def look(self, now_ns: int) -> Changes:
        """See what has come and gone."""
        stirred, files = (True, set[int]()) if self._watcher is None else self._watcher.news()
        emptied = tuple(folder.job for folder in self._folders.values() if folder.number in files) if files else ()
        moment = time.monotonic()
        is_due = stirred or moment - self._scanned >= self._rescan_seconds()
        if not (is_due or self._may_go_silently()):
            return Changes((), (), emptied)
        before = {key: folder.job for key, folder in self._folders.items()}
        ended = self._gone()
        if is_due:
            self._scanned = moment
            ended += self._scan(now_ns)
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
        if self._unnamed:
            return RETRY_SECONDS
        return RESCAN_SECONDS if self._is_untold else TOLD_RESCAN_SECONDS

    def _gone(self) -> list[RunningJob]:
        """Forget the jobs of which no folder is left."""
        ended = []
        self._is_going = self._is_partly_gone = False
        for key, folder in list(self._folders.items()):
            places = folder.places
            for controller, (path, inode) in list(places.items()):
                if _inode(path) == inode:
                    break
                del places[controller]
                self._is_going = folder.is_partly_gone = True  # the others follow
            if not places:
                del self._folders[key]
                ended.append(folder.job)
            else:
                self._is_partly_gone |= folder.is_partly_gone
        return ended

    def _scan(self, now_ns: int) -> list[RunningJob]:
        """Take in what is there now; gives the jobs whose folder has another job in it now."""
        self._unnamed = set()
        replaced = []
        seen: dict[tuple[int, str], dict[str, _Found]] = {}
        for number, profile in enumerate(self._profiles):
            for found in self._of(profile):
                seen.setdefault((number, found.below), {})[found.controller] = found
        for key, trees in seen.items():
            folder = self._folders.get(key)
            if folder is not None and all(each.identity != folder.job.identity for each in trees.values()):
                replaced.append(folder.job)
                folder = None
            if folder is None:
                self._begin(key, trees, now_ns)
            elif now_ns - folder.job.found_ns < _GROWING_NS:
                self._grow(folder, trees)
        self._is_untold = self._watcher is None or any(map(self._may_change_silently, self._profiles))
        paths = {found.path for trees in seen.values() for found in trees.values()}
        self._names = {path: known for path, known in self._names.items() if path in paths}
        return replaced

    def _may_change_silently(self, profile: Profile) -> bool:
        """Whether jobs may come that the kernel tells nothing of: in a slot, or in a root that is not there yet."""
        if profile.root is not None:
            return not os.path.isdir(self._host.path(profile.root))  # noqa: PTH112 - as below
        slots = profile.naming is Naming.CONDOR_SLOT
        return slots and any(self._profiles[number] is profile for number, _ in self._folders)

    def _begin(self, key: tuple[int, str], trees: Mapping[str, _Found], now_ns: int) -> None:
        order = sorted(trees.values(), key=_preference)
        job = RunningJob(
            order[0].identity,
            {found.controller: found.below for found in order if found.controller is not None and found.below},
            now_ns,
            None if self._first else now_ns,
        )
        folder = _Folder(key[0], {found.controller: (found.path, found.inode) for found in order}, job)
        if UNIFIED in folder.places and self._watcher is not None:
            folder.number = self._watcher.watch_file(f"{folder.places[UNIFIED][0]}/cgroup.events")
        self._folders[key] = folder
        log.debug("jobs.begun manager=%s job=%s", job.identity.manager, job.identity.job)

    def _grow(self, folder: _Folder, trees: Mapping[str, _Found]) -> None:
        """A batch system makes a job's folders one after the other."""
        new = [found for name, found in trees.items() if name not in folder.job.cgroups and found.below]
        if not new:
            return
        for found in new:
            folder.places[found.controller] = (found.path, found.inode)
        cgroups = {**folder.job.cgroups, **{found.controller: found.below for found in new}}
        job = folder.job
        folder.job = RunningJob(job.identity, cgroups, job.found_ns, job.since_ns)

    def _of(self, profile: Profile) -> Iterator[_Found]:
        if profile.root is None:
            starts = list(self._trees.roots().items())
        else:
            root = os.path.realpath(self._host.path(profile.root))
            tree = self._trees.below(root)
            starts = [(_NOWHERE if tree is None else tree[0], root)]
        taken: set[str] = set()
        for controller, start in starts:
            for way in profile.ways:
                for path, match in self._descend(start, way):
                    if path in taken:
                        continue
                    taken.add(path)
                    yield from self._told(profile, controller, path, match)

    def _told(self, profile: Profile, controller: str, path: str, match: re.Match[str]) -> Iterator[_Found]:
        inode = _inode(path)
        if inode is None:
            return
        try:
            who = self._name(profile, path, inode, match)
        except Unnamed:
            self._unnamed.add(path)
            return
        below = self._trees.below(path)
        if below is None:
            yield _Found(controller, "", path, inode, who)
            return
        yield _Found(below[0], below[1], path, inode, who)
        if profile.root is not None:
            for other, root in self._trees.roots().items():
                if other == below[0]:
                    continue
                twin = f"{root}/{below[1]}"
                self._watch_above(twin, root)  # before the look: what comes later is told
                if (number := _inode(twin)) is not None:
                    yield _Found(other, below[1], twin, number, who)

    def _name(self, profile: Profile, path: str, inode: int, match: re.Match[str]) -> JobIdentity:
        """The identity, asked for once per folder, but for slots, which may take another job at any time."""
        if profile.naming is Naming.CONDOR_SLOT:
            return identity(profile, match, path, self._host)
        known = self._names.get(path)
        if known is None or known[0] != inode:
            known = self._names[path] = (inode, identity(profile, match, path, self._host))
        return known[1]

    def _watch(self, folder: str) -> None:
        """Hear of what comes and goes in a folder, if there is one."""
        if self._watcher is not None and (inode := _inode(folder)) is not None:
            self._watcher.watch(folder, inode)

    def _watch_above(self, path: str, root: str) -> None:
        """Hear of what comes and goes beside a folder, or of what must come before it where it has no place yet."""
        above = os.path.dirname(path)  # noqa: PTH120
        while len(above) > len(root) and _inode(above) is None:
            above = os.path.dirname(above)  # noqa: PTH120
        self._watch(above)

    def _descend(self, folder: str, way: Sequence[Level]) -> Iterator[tuple[str, re.Match[str]]]:
        """The folders that the steps lead to, with what the last pattern found."""
        step, rest = way[0], way[1:]
        if step.name is not None:
            inner = f"{folder}/{step.name}"
            self._watch(folder)
            if rest and _inode(inner) is not None:
                yield from self._descend(inner, rest)
            return
        self._watch(folder)
        for name in _folders(folder):
            match = step.match(name)
            if match is None:
                continue
            if rest:
                yield from self._descend(f"{folder}/{name}", rest)
            else:
                yield f"{folder}/{name}", match


_NOWHERE = "?"
"""Stands for a folder that is in no tree."""


def _preference(found: _Found) -> int:
    return PREFERRED.index(found.controller) if found.controller in PREFERRED else len(PREFERRED)


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino  # noqa: PTH116 - for every job, every second
    except OSError:
        return None


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
