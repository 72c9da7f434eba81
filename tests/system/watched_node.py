"""A node agent that prints, beside a real batch system, and what it has told of a job."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def burning(rounds: int, file: Path) -> str:
    """A script for a shell that uses processor time, itself and by short processes, and writes down how much."""
    long, short = (f"i=0; while [ $i -lt {count} ]; do i=$((i+1)); done" for count in (rounds, 20_000))
    parts = [long, f"for n in 1 2 3 4 5 6 7 8; do ({short}); done", f"times > {file}.part", f"mv {file}.part {file}"]
    return "; ".join(parts)


def used_seconds(file: Path) -> float:
    """What the shell said that it and its processes have used."""
    told = re.findall(r"(\d+)m([\d.]+)s", file.read_text())
    return sum(60 * int(minutes) + float(seconds) for minutes, seconds in told)


class WatchedNode:
    """What a node has printed."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def lines(self) -> list[dict[str, Any]]:
        """All whole lines so far."""
        return [json.loads(line) for line in self._out.read_text().rpartition("\n")[0].splitlines()]

    def seconds(self, job: str) -> float:
        """The processor time of a job that was told last; 0 when none was."""
        told = [
            line["values"]["cgroup_cpu_usage"]
            for line in self.lines()
            if (line.get("job") or {}).get("job") == job and "cgroup_cpu_usage" in line["values"]
        ]
        return float(told[-1]) / 1e9 if told else 0.0

    def clusters(self, job: str) -> set[str]:
        """The clusters that samples of a job of this id are of."""
        who = [line.get("job") or {} for line in self.lines()]
        return {each.get("cluster", "") for each in who if each.get("job") == job}

    def ended(self) -> list[str]:
        """The jobs whose end was told, in this order."""
        return [line["ended"]["job"] for line in self.lines() if "ended" in line]


@contextmanager
def watching(folder: Path) -> Iterator[WatchedNode]:
    """A node at work, that looks every second."""
    out = folder / "node.out"
    with out.open("wb") as stream, (folder / "node.log").open("wb") as log:
        node = subprocess.Popen(
            [sys.executable, "-m", "jobmeter", "node", "--print", "-s", "1"], stdout=stream, stderr=log
        )
    try:
        yield WatchedNode(out)
    finally:
        node.terminate()
        node.wait(20)
