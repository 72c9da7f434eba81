"""`jobmeter up`: everything on one machine without any set-up. Says what it found here, then serves."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from jobmeter.run import serve
from jobmeter.serve.settings import ServeSettings

SUMMARY: str = "serves on this machine, with nothing to set up"


class Manager(Struct, frozen=True):
    """A batch system, the program that tells of its finished jobs, and the source that reads them (if there is one)."""

    name: str
    program: str
    source: str | None = None


MANAGERS = (
    Manager("Slurm", "sacct", "slurm"),
    Manager("HTCondor", "condor_history", "htcondor"),
    Manager("OAR", "oarstat", "oar"),
    Manager("Kubernetes", "kubectl", "kubernetes"),
)


def declare(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    serve.declare_place(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Say what is here and serve. Exit codes as of `serve`."""
    arguments.config = None
    arguments.as_auditor = False
    settings = serve.placed(ServeSettings(), arguments)
    for line in found_here(shutil.which, settings.application.port):
        serve.print_line(line)
    return serve.execute(arguments)


def found_here(which: Callable[[str], str | None], port: int) -> list[str]:
    """What there is to collect from on this machine, and how to begin; `which` finds a program by its name."""
    paths = {manager: which(manager.program) for manager in MANAGERS}
    here = [manager for manager, path in paths.items() if path is not None]
    absent = ", ".join(f"{manager.name} ({manager.program})" for manager in MANAGERS if manager not in here)
    lines = [f"found: {manager.name} ({Path(paths[manager] or '')})" for manager in here]
    if absent:
        lines.append(f"not found on this machine: {absent}")
    for manager in here:
        if manager.source is not None:
            lines.append(f"to collect its jobs, in another terminal (the server is at port {port}):")
            lines.append(f"  jobmeter sample-config {manager.source} > {manager.source}.toml")
            lines.append(f"  jobmeter collect {manager.source} {manager.source}.toml")
    return lines
