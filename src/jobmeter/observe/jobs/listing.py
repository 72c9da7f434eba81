"""Lists the folders of jobs, and has the kernel tell what comes and goes beside them.

A folder is watched before it is listed, so that nothing comes unheard between the two.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator, Sequence

from msgspec import Struct

from jobmeter.model.job import JobIdentity
from jobmeter.observe.cgroups import PREFERRED, Hierarchies
from jobmeter.observe.host import Host
from jobmeter.observe.inotify import Watcher
from jobmeter.observe.jobs.naming import Namer, Unnamed
from jobmeter.observe.jobs.profile import Level, Naming, Profile

NOWHERE = "?"
"""Stands for a folder that is in no tree."""

Key = tuple[int, str]
"""A job's folder, whatever trees it is in: the number of its layout, and its way below the roots."""


class Found(Struct, frozen=True):
    """A folder as the listing saw it."""

    controller: str
    below: str
    path: str
    inode: int
    identity: JobIdentity


class Listing:
    """Looks through all layouts. `watcher` is None where the kernel tells nothing."""

    def __init__(self, host: Host, trees: Hierarchies, profiles: Sequence[Profile], watcher: Watcher | None) -> None:
        self._host = host
        self._trees = trees
        self._roots = trees.roots()
        self._profiles = tuple(profiles)
        self._watcher = watcher
        self._namer = Namer(host)
        self._unnamed: dict[str, float] = {}
        self._slots = False
        self._places: dict[str, bool] = {}

    def all(self) -> dict[Key, dict[str, Found]]:
        """The folders that are there now, each by the controllers of the trees that it is in, those preferred first."""
        if self._watcher is not None:
            self._watcher.is_whole = True
        unnamed, self._unnamed, self._places = self._unnamed, {}, {}
        seen: dict[Key, dict[str, Found]] = {}
        taken: set[str] = set()
        for number, profile in enumerate(self._profiles):
            for found in self._of(profile, taken):
                seen.setdefault((number, found.below), {})[found.controller] = found
        self._unnamed = {path: unnamed.get(path, since) for path, since in self._unnamed.items()}
        self._slots = any(self._profiles[number].naming is Naming.CONDOR_SLOT for number, _ in seen)
        self._namer.keep(taken)
        return {key: {name: trees[name] for name in sorted(trees, key=preference)} for key, trees in seen.items()}

    @property
    def unnamed_seconds(self) -> float | None:
        """For how long nothing has told yet which job the newest unnamed folder is of; None where all are known."""
        return time.monotonic() - max(self._unnamed.values()) if self._unnamed else None

    @property
    def may_change_silently(self) -> bool:
        """Whether jobs may come that the kernel tells nothing of: in a slot, or in a root that is not there yet."""
        return self._slots or any(
            profile.root is not None and inode(str(self._host.path(profile.root))) is None for profile in self._profiles
        )

    def _of(self, profile: Profile, taken: set[str]) -> Iterator[Found]:
        """The folders of a layout, but for those that another layout has taken."""
        for controller, start, base in self._starts(profile):
            for way in profile.ways:
                for path, match in self._descend(start, way):
                    if path not in taken:
                        taken.add(path)
                        below = "" if base is None else (base + path[len(start) :]).strip("/")
                        yield from self._told(profile, controller, path, below, match)

    def _starts(self, profile: Profile) -> list[tuple[str, str, str | None]]:
        """Where a layout begins: the controller of the tree, the folder, and its way below the root of the tree."""
        if profile.root is None:
            return [(controller, root, "") for controller, root in self._roots.items()]
        root = os.path.realpath(self._host.path(profile.root))
        if inode(root) is None:
            self._has_place(os.path.dirname(root), "/")  # noqa: PTH120
        tree = self._trees.below(root)
        return [(NOWHERE, root, None) if tree is None else (tree[0], root, tree[1])]

    def _told(self, profile: Profile, controller: str, path: str, below: str, match: re.Match[str]) -> Iterator[Found]:
        number = inode(path)
        if number is None:
            return
        try:
            who = self._namer.name(profile, path, number, match)
        except Unnamed:
            self._unnamed[path] = time.monotonic()
            return
        yield Found(controller, below, path, number, who)
        if profile.root is not None and below:
            above = below.rpartition("/")[0]
            for other, root in self._roots.items():
                if other != controller and self._has_place(f"{root}/{above}" if above else root, root):
                    twin = f"{root}/{below}"
                    if (number := inode(twin)) is not None:
                        yield Found(other, below, twin, number, who)

    def _watch(self, folder: str) -> None:
        """Hear of what comes and goes in a folder, if there is one."""
        if self._watcher is not None and (number := inode(folder)) is not None:
            self._watcher.watch(folder, number)

    def _has_place(self, folder: str, root: str) -> bool:
        """Whether there is such a folder, asked once in a listing. What comes and goes in it is told from then on, or
        what must come before it where it is not there yet.
        """
        known = self._places.get(folder)
        if known is None:
            watched = None
            while (above := _nearest(folder, root)) != watched:  # more may have come before it was watched
                self._watch(above)
                watched = above
            known = self._places[folder] = above == folder
        return known

    def _descend(self, folder: str, way: Sequence[Level]) -> Iterator[tuple[str, re.Match[str]]]:
        """The folders that the steps lead to, with what the last pattern found."""
        step, rest = way[0], way[1:]
        if step.name is not None:
            inner = f"{folder}/{step.name}"
            self._watch(folder)
            if rest and inode(inner) is not None:
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


def inode(path: str) -> int | None:
    """The number of what is there, None where nothing is, -1 where that cannot be told now."""
    try:
        return os.stat(path).st_ino  # noqa: PTH116 - for every job, every second
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as fault:
        return None if fault.errno == errno.ENODEV else -1


def _nearest(folder: str, root: str) -> str:
    """The folder, or the first above it that is there; not above the root."""
    while len(folder) > len(root) and inode(folder) is None:
        folder = os.path.dirname(folder)  # noqa: PTH120
    return folder


def preference(controller: str) -> int:
    """Where a tree stands in the order in which they are looked at."""
    return PREFERRED.index(controller) if controller in PREFERRED else len(PREFERRED)


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
