"""The power of a node, asked of a management controller that speaks IPMI over a LAN, by all kinds of tools."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.process import wait_until
from tests.system.bmc import Bmc, install_bmc
from tests.system.debian import Unavailable

pytestmark = pytest.mark.system


@pytest.fixture
def bmc(tmp_path: Path) -> Iterator[Bmc]:
    """A controller whose node takes 240 watts."""
    try:
        install_bmc()
    except Unavailable as reason:
        pytest.skip(str(reason))
    folder = tmp_path / "bmc"
    folder.mkdir()
    running = Bmc(folder)
    try:
        running.start(240)
        yield running
    finally:
        running.recover()
        running.stop()


class Node:
    """A node that asks this command twice a second and prints."""

    def __init__(self, folder: Path, command: Sequence[str]) -> None:
        self._out, self._log = folder / "out", folder / "log"
        settings = folder / "node.toml"
        settings.write_text(
            "sample_period_seconds = 0.5\n[sources.taskstats]\nenabled = false\n[sources.ipmi]\n"
            f"command = {json.dumps(list(command))}\nperiod_seconds = 0.5\nevery_seconds = 0.5\ntimeout_seconds = 2\n"
        )
        with self._out.open("wb") as out, self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jobmeter", "node", str(settings), "--print"], stdout=out, stderr=log
            )

    def lines(self, source: str) -> list[dict[str, Any]]:
        """The samples of a source so far."""
        whole = self._out.read_text().rpartition("\n")[0].splitlines()
        return [line for line in map(json.loads, whole) if line.get("source") == source]

    def watts(self) -> list[float]:
        """The power that was told so far."""
        return [line["values"]["ipmi_power"] for line in self.lines("ipmi")]

    def says(self, event: str) -> int:
        """How often an event was logged."""
        return self._log.read_text().count(event)

    def stop(self) -> int:
        """The exit code at the end."""
        self._process.terminate()
        return self._process.wait(20)


def _own_tool(bmc: Bmc, folder: Path) -> list[str]:
    """A tool of a site that prints like `ipmi-oem dell power-monitoring-over-interval`."""
    asked = " ".join(bmc.ipmitool("raw", "0x2c", "0x02", "0xdc", "1", "0", "0"))
    tool = folder / "own-tool"
    tool.write_text(f'#!/bin/sh\nset -- $({asked}) || exit 1\nprintf "Average Watts : %d\\n" "0x$3$2"\n')
    tool.chmod(0o755)
    return [str(tool)]


@pytest.mark.parametrize("tool", ["ipmitool", "freeipmi", "a site's own"])
def test_the_power_is_what_the_controller_tells(bmc: Bmc, tmp_path: Path, tool: str) -> None:
    command = {"ipmitool": bmc.ipmitool("dcmi", "power", "reading"), "freeipmi": bmc.ipmi_dcmi()}.get(tool)
    node = Node(tmp_path, command or _own_tool(bmc, tmp_path))
    try:
        wait_until(lambda: 240 in node.watts(), "240 watts are told", 30)
        bmc.tell(311)
        wait_until(lambda: 311 in node.watts(), "311 watts are told", 30)
    finally:
        code = node.stop()
    assert code == 0
    assert set(node.watts()) == {240, 311}


def test_a_controller_that_hangs_holds_up_nothing_and_is_said_once(bmc: Bmc, tmp_path: Path) -> None:
    node = Node(tmp_path, bmc.ipmitool("dcmi", "power", "reading"))
    try:
        wait_until(lambda: bool(node.watts()), "a reading", 30)
        bmc.hang()
        wait_until(lambda: node.says("source_unreadable source=ipmi") > 0, "the fault is said", 30)
        before, told = len(node.lines("procstats")), len(node.watts())
        wait_until(lambda: len(node.lines("procstats")) >= before + 8, "the other sources go on", 30)
        assert len(node.watts()) == told
        assert node.says("source_unreadable source=ipmi") == 1
        bmc.recover()
        wait_until(lambda: len(node.watts()) > told, "it is read again", 30)
    finally:
        node.stop()
    assert node.says("source_readable source=ipmi") == 1
    times = [line["time_ns"] for line in node.lines("procstats")]
    assert max(later - sooner for sooner, later in pairwise(times)) < 2_000_000_000
