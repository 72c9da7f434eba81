"""`jobmeter node`: measures the jobs of this node and the node itself, at a cost that nobody notices."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import logging
import os
import resource
from pathlib import Path

from msgspec import structs

from jobmeter import __version__
from jobmeter.contract import AskingSource, SampleSender, SourceAbsent
from jobmeter.model.job import JobIdentity, RunningJob
from jobmeter.observe.agent import Agent
from jobmeter.observe.ceiling import Ceiling
from jobmeter.observe.cgroups import Hierarchies, hierarchies
from jobmeter.observe.host import Host, this_host
from jobmeter.observe.jobs.finder import JobFinder
from jobmeter.run.agent.flags import declare_colmet
from jobmeter.run.agent.jobs import profiles
from jobmeter.run.agent.loop import Signals, loop
from jobmeter.run.agent.mounts import Mounts
from jobmeter.run.agent.sending import open_sender
from jobmeter.run.agent.sources import Openings, wanted
from jobmeter.run.agent.tables import flagged
from jobmeter.run.log import set_level
from jobmeter.settings.agent import NodeSettings
from jobmeter.settings.fault import Fault, Place, SettingsFaulty
from jobmeter.settings.load import bind, read
from jobmeter.settings.node import Mapping

SUMMARY: str = "measures the jobs of this node and the node itself, and sends the samples to a gatherer"
SETTINGS: str = "jobmeter.settings.agent:NodeSettings"

_ONCE_SECONDS = 30.0
"""How long a tool is waited for where all is read once."""

_ARENA_MAX = -8
"""M_ARENA_MAX of the C library's malloc.h."""

log = logging.getLogger("jobmeter.run")


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("config", nargs="?", type=Path, metavar="CONFIG", help="its settings, TOML; see sample-config")
    parser.add_argument("--print", action="store_true", help="print the samples as JSON lines; send nothing")
    parser.add_argument("--once", action="store_true", help="read everything once, and end")
    parser.add_argument("--as-colmet", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--version", action="version", version=f"jobmeter {__version__}")
    declare_colmet(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Measure until a signal asks to end (0), or once."""
    _spare_memory()
    settings, tables = _settings(arguments)
    _set_level(arguments, settings)
    sender = open_sender(settings, arguments, settings.node_name or this_host().name)
    signals, mounts = Signals(), Mounts(this_host())
    with signals.installed():
        agent = build(settings, tables, arguments, sender)
        while not _measured(agent, settings, arguments, signals, mounts):
            signals.reload = False
            try:
                fresh = _settings(arguments)
                agent = build(*fresh, arguments, sender)
            except SettingsFaulty as fault:
                log.error("node.not_reloaded reason=%r", str(fault))  # noqa: TRY400 - the message says all
                agent = build(settings, tables, arguments, sender)
                continue
            settings, tables = fresh
            _set_level(arguments, settings)
            log.info("node.reloaded")
    mounts.close()
    sender.close(settings.linger_seconds)
    return 0


def _measured(
    agent: Agent, settings: NodeSettings, arguments: argparse.Namespace, signals: Signals, mounts: Mounts
) -> bool:
    """Measure until a signal comes, or once. Whether that is all: False where the settings shall be read again."""
    try:
        if arguments.once:
            for each in agent.sources:
                if isinstance(each.source, AskingSource):
                    each.source.await_answer(_ONCE_SECONDS)
            agent.turn(everything=True)
            return True
        log.info("node.started node=%s sources=%s", agent.node, ",".join(each.name for each in agent.sources))
        loop(agent, signals, settings.metrics, mounts)
        agent.finish()
        return not signals.reload
    finally:
        agent.close()


def build(settings: NodeSettings, tables: Mapping | None, arguments: argparse.Namespace, sender: SampleSender) -> Agent:
    """The agent that the settings and the options ask for. Raises SettingsFaulty."""
    host = this_host()
    if settings.node_name:
        host = structs.replace(host, name=settings.node_name)
    _raise_file_limit()
    chosen, tables = flagged(tables, arguments)
    sources = wanted(tables, settings.sample_period_seconds, chosen)
    try:
        trees = hierarchies(host)
    except SourceAbsent as fault:
        log.warning("node.no_control_groups reason=%r", str(fault))
        trees = Hierarchies({}, None)
    finder = JobFinder(host, trees, profiles(settings, arguments), fixed=_fixed(arguments, trees, host))
    openings = Openings(sources, host)
    agent = Agent(host.name, finder, openings(), sender, ceiling=Ceiling(settings.ceiling_percent), later=openings)
    gc.collect()
    gc.freeze()
    _give_back()
    return agent


def _settings(arguments: argparse.Namespace) -> tuple[NodeSettings, Mapping | None]:
    """The settings, and the tables of sources with the places of what they hold."""
    root = Mapping((), Place("settings")) if arguments.config is None else read(arguments.config)
    loaded = bind(NodeSettings, root, os.environ, None)
    entry = root.find("sources")
    settings = loaded.settings
    if arguments.sample_period is not None:
        if not 0.05 <= arguments.sample_period <= 86400:
            raise SettingsFaulty([Fault("command line", "--sample-period", "is not from 0.05 to 86400 seconds")])
        settings = structs.replace(settings, sample_period_seconds=arguments.sample_period)
    if arguments.zeromq_linger is not None:
        linger = arguments.zeromq_linger / 1000 if arguments.zeromq_linger >= 0 else 600.0
        settings = structs.replace(settings, linger_seconds=linger)
    return settings, entry.value if entry is not None and isinstance(entry.value, Mapping) else None


def _set_level(arguments: argparse.Namespace, settings: NodeSettings) -> None:
    if arguments.log_level is not None:
        return
    if arguments.as_colmet or arguments.verbose:
        set_level(("warn", "info", "debug")[min(arguments.verbose, 2)])
    else:
        set_level(settings.log_level)


def _fixed(arguments: argparse.Namespace, trees: Hierarchies, host: Host) -> list[RunningJob]:
    """What was named on the command line to be measured beside the jobs."""
    now = int(host.clock.now().timestamp() * 1e9)
    jobs = []
    for path in arguments.cgroup:
        tree, below = _place(os.path.realpath(host.path(path)), path, trees)
        groups = {name: below for name, root in trees.roots().items() if Path(root, below).is_dir()}
        jobs.append(RunningJob(JobIdentity("cgroup", "", path), groups or {tree: below}, now))
    for number in (*arguments.pid, *arguments.tid):
        if not host.path(f"/proc/{number}").exists():
            log.warning("node.no_such_process id=%d", number)
    jobs += [RunningJob(JobIdentity("process", "", str(pid)), {}, now, processes=(pid,)) for pid in arguments.pid]
    jobs += [RunningJob(JobIdentity("thread", "", str(tid)), {}, now, threads=(tid,)) for tid in arguments.tid]
    return jobs


def _place(folder: str, given: str, trees: Hierarchies) -> tuple[str, str]:
    """In which tree a control group is, and where below its root; it may come later. Raises SettingsFaulty."""
    place = trees.below(folder)
    if place is None:
        reason = "is in no tree of control groups"
    elif not place[1]:
        reason = "is a whole tree of control groups, not a group in one"
    else:
        if not Path(folder).is_dir():
            log.warning("node.no_such_group path=%s", given)
        return place
    raise SettingsFaulty([Fault("command line", f"--cgroup {given}", reason)])


def _spare_memory() -> None:
    """Let all threads share one pool of memory: the C library gives each its own, and few bytes of it are used."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def _give_back() -> None:
    """Give what the start needed and nothing needs any more back to the kernel."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _raise_file_limit() -> None:
    """Many jobs mean many open files: take as many as may be had."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
