"""What `scontrol show job --details` prints of one job, read so that nothing a user typed is taken for a fact.

scontrol escapes nothing: a job's name, comment or network option may hold spaces, `=` and line breaks, and so imitate
any field. What is relied on, with the layouts of Slurm 22.05 and 24.11 (`slurm_sprint_job_info` of libslurm):

- The job's name stands first, and its owner follows. Where the name is known from elsewhere (SLURM_JOB_NAME, which
  slurmctld sets), the owner's line is the one after exactly that name. Where it is not, there must be only one line
  that could be it.
- From there to `Features=`, a line comes once. One that comes twice was imitated, and the entry is refused.
- Behind `Features=` stand the user's texts. No fact is taken from there.
- The lines of the nodes follow `JOB_GRES=`.
- In a line whose keys are known, only these keys are looked for, in their order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from jobmeter.observe.shape.values import Unreadable

NONE = frozenset({"", "(null)", "N/A", "Unknown", "None"})
"""What scontrol prints where there is no value."""

_HEAD = re.compile(
    r"JobId=(\d+)(?: ArrayJobId=(\d+)(?: ArrayTaskId=(\S+))?(?: ArrayTaskThrottle=\d+)?)?"
    r"(?: HetJobId=(\d+) HetJobOffset=(\d+))? JobName=",
    re.ASCII,
)
_HEAD_KEYS = ("JobId", "ArrayJobId", "ArrayTaskId", "HetJobId", "HetJobOffset")
_OWNER = re.compile(
    r"\n(?:   HetJobIdSet=\S*\n)?   (?=UserId=[^\n]*\(\d+\) GroupId=[^\n]*\(\d+\) MCS_label=)", re.ASCII
)
_LINE = re.compile(r"   ([A-Z][A-Za-z_/:]*)=")
_NODES = re.compile(r"     Nodes=(\S+) CPU_IDs=\S* Mem=(\d+) GRES=", re.ASCII)
_TOKEN = re.compile(r"(?:^| )([A-Z][A-Za-z_/:]*)=(\S*)")
_BEGIN_OF_NODES = "JOB_GRES"
_BEGIN_OF_TEXTS = "Features"
_LINES_OF_TEXTS = frozenset({_BEGIN_OF_TEXTS, "OverSubscribe"})

_LINES = (
    ("UserId", "GroupId", "MCS_label"),
    ("Priority", "Nice", "Account", "QOS", "WCKey"),
    ("JobState", "Reason", "Dependency"),
    ("Requeue", "Restarts", "BatchFlag", "Reboot", "ExitCode"),
    ("DerivedExitCode",),
    ("RunTime", "TimeLimit", "TimeMin"),
    ("SubmitTime", "EligibleTime"),
    ("AccrueTime",),
    ("StartTime", "EndTime", "Deadline"),
    ("PreemptEligibleTime", "PreemptTime"),
    ("SuspendTime", "SecsPreSuspend", "LastSchedEval", "Scheduler"),
    ("Partition", "AllocNode:Sid"),
    ("ReqNodeList", "ExcNodeList"),
    ("NodeList",),
    ("BatchHost",),
    ("NumNodes", "NumCPUs", "NumTasks", "CPUs/Task", "ReqB:S:C:T"),
    ("TRES",),
    ("ReqTRES",),
    ("AllocTRES",),
    ("MinCPUsNode", "MinMemoryNode", "MinTmpDiskNode"),
    ("Features", "DelayBoot"),
    ("OverSubscribe", "Contiguous", "Licenses", "Network"),
)
_KEYS = {line[0]: line for line in _LINES}
_KNOWN = frozenset(key for line in _LINES for key in line) | frozenset({*_HEAD_KEYS, "JobName", "Mem"})
_NEEDED = ("UserId", "GroupId", "JobState", "StartTime", "EndTime", "Partition", "NumCPUs")


def parse(text: str, job: int, name: str | None) -> dict[str, str]:
    """The values of the job with this number, absent where scontrol says that there is none.

    `Mem` is the memory of all its nodes together, in MiB. `name` is the job's name where it is known for certain.
    Raises Unreadable.
    """
    head = _HEAD.match(text)
    if head is None or int(head[1]) != job:
        raise Unreadable(f"scontrol did not print the job {job} first")
    values = {key: value for key, value in zip(_HEAD_KEYS, head.groups(), strict=True) if value is not None}
    begin = _owner(text, head.end(), name)
    values["JobName"] = text[head.end() : begin].partition("\n   HetJobIdSet=")[0].removesuffix("\n   ")
    facts, texts = _parted(text[begin:])
    values.update(_facts(facts))
    for key, value in _texts(texts):
        values.setdefault(key, value)
    if missing := [key for key in _NEEDED if key not in values]:
        raise Unreadable(f"scontrol printed no {', '.join(missing)}")
    return {key: value for key, value in values.items() if value not in NONE}


def _owner(text: str, start: int, name: str | None) -> int:
    """Where the line with the owner begins."""
    if name is not None and text.startswith(name, start) and (found := _OWNER.match(text, start + len(name))):
        return found.end()
    places = [found.end() for found in _OWNER.finditer(text, start)]
    if len(places) != 1:
        raise Unreadable(f"the name of the job imitates other fields: {len(places)} lines could tell its owner")
    return places[0]


def _parted(body: str) -> tuple[list[str], list[str]]:
    """The lines of facts, and those from the user's texts on."""
    lines = ("   " + body).split("\n")
    for number, line in enumerate(lines):
        if line.startswith(f"   {_BEGIN_OF_TEXTS}="):
            return lines[:number], lines[number:]
    raise Unreadable(f"scontrol printed no line {_BEGIN_OF_TEXTS}=")


def _facts(lines: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    seen: set[str] = set()
    memory = None
    of_nodes = False
    for line in lines:
        if of_nodes and (nodes := _NODES.match(line)) is not None:
            memory = (memory or 0) + nodes_in(nodes[1]) * int(nodes[2])
        elif (found := _LINE.match(line)) is not None:
            if found[1] in seen:
                raise Unreadable(f"there are two lines {found[1]}=: a text of the job imitates one")
            seen.add(found[1])
            of_nodes = found[1] == _BEGIN_OF_NODES
            for key, value in _values(line, found[1]):
                values.setdefault(key, value)
    if memory is not None:
        values["Mem"] = str(memory)
    return values


def _texts(lines: list[str]) -> Iterator[tuple[str, str]]:
    """The values behind the facts. A key that comes twice there is given by nobody."""
    found = [(match[1], line) for line in lines if (match := _LINE.match(line)) is not None]
    leading = [key for key, _ in found]
    for key, line in found:
        if leading.count(key) > 1:
            continue
        if key in _LINES_OF_TEXTS:
            yield from _values(line, key)
        elif key not in _KNOWN:
            yield key, line[len(key) + 4 :].removesuffix(" ")


def _values(line: str, first: str) -> Iterator[tuple[str, str]]:
    keys = _KEYS.get(first)
    if keys is None:
        yield from ((key, value) for key, value in _TOKEN.findall(line[2:]) if key not in _KNOWN)
        return
    rest = line[len(first) + 4 :]
    key = first
    for following in keys[1:]:
        # The value of Features is a text of the user's, and what follows it is none: the last one counts.
        part = rest.rpartition if key == _BEGIN_OF_TEXTS else rest.partition
        value, mark, behind = part(f" {following}=")
        if mark:
            yield key, value
            key, rest = following, behind
    yield key, rest


def nodes_in(expression: str) -> int:
    """How many nodes a list such as `n[1-3,7],m2` names. Raises Unreadable."""
    total = 0
    for item in re.split(r",(?![^\[]*\])", expression):
        count = 1
        for group in re.findall(r"\[([^\]]*)\]", item):
            count *= sum(_span(part) for part in group.split(","))
        total += count
    return total


def _span(part: str) -> int:
    first, dash, last = part.partition("-")
    if not (first.isascii() and first.isdigit() and (not dash or (last.isascii() and last.isdigit()))):
        raise Unreadable(f"{part!r} is no range of nodes")
    if dash and not 0 <= int(last) - int(first) < 1_000_000:
        raise Unreadable(f"{part!r} is no range of nodes")
    return int(last) - int(first) + 1 if dash else 1
