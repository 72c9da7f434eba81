"""Where the control groups of this machine are: which controllers are mounted the old way, where the unified tree is.

Facts: proc(5) on mountinfo, cgroups(7). Both forms stand side by side on hybrid machines, so it is decided for each
controller which of them counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

from jobmeter.contract import SourceAbsent, SourceUnreadable
from jobmeter.model.job import RunningJob
from jobmeter.observe.host import Host

UNIFIED = ""
"""The name of the unified tree where controllers are named."""

PREFERRED = ("cpuacct", "memory", UNIFIED, "cpu", "freezer", "cpuset", "devices", "pids", "blkio")
"""In which trees a job's folder is looked at first."""

_CONTROLLERS = frozenset(
    {"cpu", "cpuacct", "cpuset", "memory", "blkio", "devices", "freezer", "pids", "perf_event", "hugetlb", "rdma"}
    | {"net_cls", "net_prio", "misc"}
)
_ESCAPED = re.compile(r"\\([0-7]{3})")


class Hierarchies(Struct, frozen=True):
    """The roots of the mounted trees, as paths from here: `old` by controller, `unified` where version 2 is mounted.

    `again` has further places where the same trees are mounted, each with the root that counts.
    """

    old: Mapping[str, str]
    unified: str | None
    again: Mapping[str, str] = {}

    def roots(self) -> dict[str, str]:
        """All roots by controller, the preferred ones first; a controller that shares its tree comes once."""
        every = dict(self.old)
        if self.unified is not None:
            every[UNIFIED] = self.unified
        order = [*(name for name in PREFERRED if name in every), *sorted(set(every) - set(PREFERRED))]
        names: dict[str, str] = {}
        for name in order:
            names.setdefault(every[name], name)
        return {name: root for root, name in names.items()}

    def folder(self, controller: str, job: RunningJob) -> tuple[int, str] | None:
        """The version (1 or 2) and the folder where a controller's files of a job are, None where it has none.

        On a machine with both, a job that is in no folder of the old tree is looked for in the unified one, which
        counts processor time whatever controllers it has.
        """
        root = self.old.get(controller)
        for name, inner in job.cgroups.items() if root is not None else ():
            if self.old.get(name) == root:  # the controller itself, or one that shares its tree
                return 1, f"{root}/{inner}"
        if self.unified is not None and (below := job.cgroups.get(UNIFIED)) is not None:
            return 2, f"{self.unified}/{below}"
        return None

    def any_folder(self, job: RunningJob) -> str | None:
        """A folder that holds the job, in the tree that is preferred."""
        for controller in (*PREFERRED, *job.cgroups):
            top = self.unified if controller == UNIFIED else self.old.get(controller)
            if top is not None and (below := job.cgroups.get(controller)) is not None:
                return f"{top}/{below}"
        return None

    def below(self, path: str) -> tuple[str, str] | None:
        """In which tree a folder is: a controller of it, and the folder below its root; None where it is in none."""
        for place, counted in self.again.items():
            if path.startswith(place + "/"):
                path = counted + path[len(place) :]
                break
        found = [(top, name) for name, top in self.roots().items() if path == top or path.startswith(top + "/")]
        if not found:
            return None
        top, name = max(found, key=lambda each: len(each[0]))
        return name, path[len(top) :].strip("/")


def hierarchies(host: Host) -> Hierarchies:
    """What is mounted. Raises SourceUnreadable when that cannot be read, SourceAbsent when nothing is mounted."""
    try:
        text = host.path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        raise SourceAbsent("there is no /proc/self/mountinfo") from None
    except OSError as fault:
        raise SourceUnreadable(f"/proc/self/mountinfo cannot be read: {fault.strerror}") from None
    found = parse(text)
    if not found.old and found.unified is None:
        raise SourceAbsent("no control groups are mounted")
    return Hierarchies(
        {name: str(host.path(root)) for name, root in found.old.items()},
        None if found.unified is None else str(host.path(found.unified)),
        {str(host.path(place)): str(host.path(root)) for place, root in found.again.items()},
    )


def parse(mountinfo: str) -> Hierarchies:
    """The roots that the text of mountinfo names, as the machine calls them. The first mount of a tree counts."""
    found: dict[str, str] = {}
    again: dict[str, str] = {}
    whole: set[str] = set()
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        words, kind = before.split(), after.split()
        if not separator or len(words) < 5 or len(kind) < 3 or words[3].startswith("/.."):
            continue
        place = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), words[4])
        names = _controllers(kind[0], kind[2])
        first = next((found[name] for name in names if name in found), place)
        if words[3] == "/":
            whole.add(place)
            if first in whole and first != place:
                again[place] = first
        for name in names:
            found.setdefault(name, place)
    unified = found.pop(UNIFIED, None)
    return Hierarchies(found, unified, again)


def _controllers(kind: str, options: str) -> list[str]:
    """What a file system of this kind, mounted with these options, is a tree of."""
    if kind == "cgroup2":
        return [UNIFIED]
    if kind == "cpuset":
        return ["cpuset"]
    if kind != "cgroup":
        return []
    return [option for option in options.split(",") if option in _CONTROLLERS or option.startswith("name=")]
