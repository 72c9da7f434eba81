"""The power of the whole node, as its management controller tells it to a tool.

Any tool that prints watts will do: what DCMI's own tools print is known, of any other the last `: NUMBER` counts. Such
tools take seconds, so one runs in a thread of its own, with a time limit; a sample has the time of its reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from threading import Event
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from jobmeter.contract import Reading, SampleSource, SourceAbsent, SourceUnreadable
from jobmeter.model.job import RunningJob
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import Sample
from jobmeter.observe.host import CommandFailed, CommandMissing, CommandTimedOut, Host, OutputTooLarge
from jobmeter.observe.latest import Latest

_KILL_SECONDS = 10.0
"""How long a tool may take to be gone once it was killed: longer means that it hangs in the kernel."""

_DEVICES = ("/dev/ipmi0", "/dev/ipmi/0", "/dev/ipmidev/0")
_KNOWN_TOOLS = (
    ("/usr/sbin/ipmi-dcmi", "--get-system-power-statistics"),
    ("/usr/bin/ipmitool", "dcmi", "power", "reading"),
    ("/usr/sbin/ipmitool", "dcmi", "power", "reading"),
)
_DCMI = re.compile(r"^\s*(?:Instantaneous power reading|Current Power)\s*:\s*(\d+)\s*Watts", re.M | re.I)
_ANY = re.compile(r":[ \t]*(\d+)(?=\s|$)", re.ASCII)

METRICS = (Metric("ipmi_power", "watts", Kind.GAUGE, "Power of the node; over which time, the tool knows."),)
_NAMES = ("ipmi_power",)


class Settings(Struct, frozen=True):
    """Which tool is asked, and how often."""

    own_period_seconds: ClassVar[float] = 10.0

    command: Annotated[
        tuple[str, ...],
        Meta(description="The tool with its arguments; the default is ipmi-dcmi or ipmitool, where it is installed."),
    ] = ()
    timeout_seconds: Annotated[float, Meta(description="How long the tool may take.", gt=0, le=600)] = 20.0
    every_seconds: Annotated[float, Meta(description="How often the tool is asked.", ge=0.05, le=86400)] = 5.0


class IpmiSource:
    """Has the tool asked, and gives its latest word."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._node = host.name
        self.metrics = METRICS
        command = settings.command or _tool(host)
        self._latest = Latest(
            "ipmi",
            lambda stop: power(host, command, settings.timeout_seconds, stop),
            settings.every_seconds,
            2 * settings.timeout_seconds + _KILL_SECONDS,
        )

    def read(
        self,
        now_ns: int,  # noqa: ARG002 - a sample has the time of its reading
        jobs: Sequence[RunningJob],
        reading: Reading = Reading.ALL,
    ) -> Iterator[Sample]:
        """A sample of the node, if there is a new reading."""
        if reading is not Reading.ALL:
            return
        found = self._latest.take()
        if found is not None:
            involved = tuple(job.identity for job in jobs)
            yield Sample("ipmi", self._node, None, found[1], _NAMES, (found[0],), involved=involved)

    def await_answer(self, seconds: float) -> None:
        """Wait for the tool's first word."""
        self._latest.await_first(seconds)

    def close(self) -> None:
        """Ask no more."""
        self._latest.close()


def power(host: Host, command: Sequence[str], timeout_seconds: float, unwanted: Event | None = None) -> int:
    """The power in watts. Raises SourceUnreadable."""
    try:
        output = host.run(
            command,
            environment={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            timeout_seconds=timeout_seconds,
            output_max_bytes=1 << 20,
            unwanted=unwanted,
        )
    except (CommandMissing, CommandFailed, CommandTimedOut, OutputTooLarge) as fault:
        raise SourceUnreadable(str(fault)) from None
    watts = parse(output.text)
    if watts is None:
        raise SourceUnreadable(f"{command[0]} tells no power: {output.text.strip()[:200]!r}")
    return watts


def parse(text: str) -> int | None:
    """Watts from what a tool printed; None when there are none."""
    if (known := _DCMI.search(text)) is not None:
        return int(known[1])
    numbers = _ANY.findall(text)
    return int(numbers[-1]) if numbers else None


def _tool(host: Host) -> tuple[str, ...]:
    if not any(host.path(device).exists() for device in _DEVICES):
        raise SourceAbsent(f"there is no {_DEVICES[0]}")
    for tool in _KNOWN_TOOLS:
        if host.path(tool[0]).exists():
            return tool
    raise SourceAbsent("neither ipmi-dcmi nor ipmitool is installed")


def open_source(settings: Settings, host: Host) -> SampleSource:
    """The node's management controller. Raises SourceAbsent where there is none."""
    return IpmiSource(settings, host)
