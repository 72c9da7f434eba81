"""The options of `jobmeter node`: ours, and those of colmet-node, which give settings in the place of a file."""

from __future__ import annotations

import argparse
import re

from jobmeter.observe.jobs.profile import Profile, rooted

IPMI_COMMAND = ("/usr/sbin/ipmi-oem", "dell", "power-monitoring-over-interval", "5", "systempower")
PERF_EVENTS = ("instructions", "cache_misses", "page_faults")
OAR_PATTERN = r"_(\d+)$"

ENABLED_BY = {
    "enable_infiniband": "infiniband",
    "enable_lustre": "lustre",
    "enable_perfhw": "perf",
    "enable_RAPL": "rapl",
    "enable_temperature": "thermal",
    "enable_jobproc": "jobproc",
    "enable_ipmipower": "ipmi",
    "enable_nvidia": "nvidia",
}
"""The options that switch a source on."""


def declare_colmet(parser: argparse.ArgumentParser) -> None:
    """Add the options of colmet-node 0.6.10."""
    group = parser.add_argument_group("options of colmet-node")
    group.add_argument("-v", "--verbose", action="count", default=0, help="log more: -v info, -vv debug")
    group.add_argument("-s", "--sample-period", type=float, metavar="SECONDS", help="how often sources are read (5)")
    group.add_argument("--disable-procstats", action="store_true", help="leave the node's own numbers out")
    group.add_argument("--enable-infiniband", action="store_true", help="read InfiniBand or Omni-Path ports")
    group.add_argument("--omnipath", action="store_true", help="the data counters of perfquery are Omni-Path's")
    group.add_argument("--enable-lustre", action="store_true", help="read Lustre's client")
    group.add_argument("--lustre-prefix", metavar="NAME", help="name of the Lustre file system")
    group.add_argument("--enable-perfhw", action="store_true", help="count hardware events of jobs")
    group.add_argument("--perfhw-list", nargs="+", metavar="EVENT", help="the events; Colmet's records take five")
    group.add_argument("--enable-RAPL", action="store_true", help="read the energy meters of the processors")
    group.add_argument("--enable-temperature", action="store_true", help="read the thermal zones")
    group.add_argument("--enable-jobproc", action="store_true", help="add up what /proc says of a job's processes")
    group.add_argument("--enable-ipmipower", action="store_true", help="ask the node's controller for its power")
    group.add_argument("--ipmipower-cmd", nargs="+", metavar="WORD", help="the command that asks, with its arguments")
    group.add_argument("--enable-nvidia", action="store_true", help="read graphics processors of NVIDIA")
    group.add_argument("-c", "--cgroup", action="append", default=[], metavar="PATH", help="measure this group, too")
    group.add_argument("-p", "--pid", action="append", type=_number, default=[], help="measure this process, too")
    group.add_argument("-t", "--tid", action="append", type=_number, default=[], help="measure this thread, too")
    group.add_argument(
        "--cpuset_rootpath", action="append", default=[], metavar="PATH", help="folder of jobs; may be repeated"
    )
    group.add_argument(
        "--regex_job_id", action="append", default=[], type=_pattern, metavar="REGEX", help="finds the id in a name"
    )
    group.add_argument("--zeromq-uri", metavar="URI", help="the gatherer's address (tcp://127.0.0.1:5556)")
    group.add_argument("--zeromq-hwm", type=int, metavar="N", help="how many messages may wait (1000)")
    group.add_argument("--zeromq-linger", type=int, metavar="MS", help="how long is tried to send at the end (0)")


def root_profiles(arguments: argparse.Namespace, cluster: str) -> list[Profile]:
    """The folders of jobs that were given on the command line."""
    patterns = tuple(arguments.regex_job_id) or (OAR_PATTERN,)
    return [rooted(path, patterns, "oar", cluster) for path in arguments.cpuset_rootpath]


def _number(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("is no number of a process or thread")
    return int(text)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as fault:
        raise argparse.ArgumentTypeError(f"is no regular expression: {fault}") from None
    return text
