"""`jobmeter run -- CMD …`: run a command as a measured job, without any batch system.

The exit status is that of the command: 128 and the number of the signal that ended it, 127 when there is no such
command, 126 when it cannot be run. Standard input and output are its own. Nothing that goes wrong here changes that.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import pwd
import sys
import time
from pathlib import Path
from typing import Any

from jobmeter.observe.cgroups import hierarchies
from jobmeter.observe.host import Host, this_host
from jobmeter.observe.runs.child import Child, NotStarted, start
from jobmeter.observe.runs.group import OwnGroup, make

SUMMARY: str = "runs a command as a measured job, and says what it used"

WRONG_USE = 2
_LEVEL_QUIET = logging.CRITICAL + 1
_DELIVER_SECONDS = 60.0

log = logging.getLogger("jobmeter.run")


def declare(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.usage = "jobmeter run [OPTIONS] -- COMMAND ..."
    parser.add_argument("--name", metavar="NAME", help="a name for the job, kept in its record")
    where = parser.add_mutually_exclusive_group()
    server = os.environ.get("JOBMETER_SERVER", "http://127.0.0.1:8000")
    where.add_argument("--server", default=server, metavar="URL", help="the server (JOBMETER_SERVER, or %(default)s)")
    where.add_argument("--store", type=Path, metavar="DIR", help="keep record and samples in this folder instead")
    where.add_argument("--no-record", action="store_true", help="measure only; store nothing")
    parser.add_argument("--token-file", metavar="FILE", help="the token to show the server (or JOBMETER_TOKEN)")
    parser.add_argument("--ca", metavar="FILE", help="authority to trust besides those of the system")
    parser.add_argument("--certificate", metavar="FILE", help="client certificate to show")
    parser.add_argument("--key", metavar="FILE", help="its private key")
    parser.add_argument("--spool", type=Path, metavar="DIR", help="where things wait for the server")
    parser.add_argument("--site", default=os.environ.get("JOBMETER_SITE", "local"), metavar="NAME",
                        help="the site in the record (JOBMETER_SITE, or %(default)s)")  # fmt: skip
    parser.add_argument("--no-cgroup", action="store_true", help="do without a control group, by processes alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was measured into this file")
    parser.add_argument("--quiet", action="store_true", help="print no summary")
    parser.add_argument("--deliver", type=Path, metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="what to run, and its arguments")


def execute(arguments: argparse.Namespace) -> int:
    """Run it."""
    if arguments.deliver is not None:
        from jobmeter.run.measured.delivering import deliver  # noqa: PLC0415 - another process than the one that measures

        return deliver(arguments, _DELIVER_SECONDS)
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        sys.stderr.write("jobmeter run: name a command: jobmeter run -- COMMAND ...\n")
        return WRONG_USE
    if arguments.log_level is None:
        logging.getLogger("jobmeter").setLevel(_LEVEL_QUIET)  # standard error is the command's
    return _run(command, arguments)


def _run(command: list[str], arguments: argparse.Namespace) -> int:
    host = this_host()
    began_ns = time.time_ns()
    job = _job_id(host, began_ns)
    group = None if arguments.no_cgroup else _group(host, job)
    try:
        child = start(command, group)
    except NotStarted as fault:
        if group is not None:
            group.remove()
        sys.stderr.write(f"jobmeter run: {fault}\n")
        return fault.status
    status: int | None = None
    try:
        status = _measured(host, job, child, group, began_ns, command, arguments)
    except (
        Exception
    ) as fault:  # a supervisor: whatever goes wrong in measuring, the command goes on and its status counts
        log.exception("run.not_measured job=%s", job)
        with contextlib.suppress(OSError):
            sys.stderr.write(f"jobmeter run: this command is not measured to its end: {fault!r}\n")
    while child.status is None:
        child.wait(3600.0)
    if group is not None:
        group.remove()
    child.released()
    return child.status if status is None else status


def _measured(  # noqa: PLR0913, PLR0917 - what a run is made of
    host: Host, job: str, child: Child, group: OwnGroup | None, began_ns: int, command: list[str],
    arguments: argparse.Namespace,
) -> int:  # fmt: skip
    """Measure to the end, store, and tell. The command runs already: what this imports does not hold it up."""
    from jobmeter.model.job import JobIdentity  # noqa: PLC0415 - as said above
    from jobmeter.run.measured.measuring import Measuring  # noqa: PLC0415
    from jobmeter.run.measured.told import as_values, lines, numbers, record_of  # noqa: PLC0415

    taker = _taker(arguments)
    measuring = Measuring(host, JobIdentity("jobmeter", "", job), child, group, began_ns)
    outcome = measuring.outcome(taker)
    found = numbers(outcome)
    told, faults = list(lines(found)), list[str]()
    if taker is not None:
        record = record_of(outcome, found, _meta(command, arguments))
        taker.finish(record, outcome.summary)
        faults += taker.faults
        told.append(taker.place(record.record_id))
    if arguments.json is not None:
        try:
            arguments.json.write_text(_as_json({**as_values(found), "command": command}), encoding="utf-8")
        except OSError as fault:
            faults.append(f"{arguments.json}: {fault.strerror}")
    said = [] if arguments.quiet else [f"jobmeter: {line}" for line in told]
    said += [f"jobmeter run: not all is stored: {fault}" for fault in faults]
    with contextlib.suppress(OSError):
        sys.stderr.write("".join(f"{line}\n" for line in said))
    return outcome.status


def _as_json(values: dict[str, Any]) -> str:
    import json  # noqa: PLC0415 - seldom asked for; unlike msgspec it takes arguments that are no UTF-8

    return json.dumps(values) + "\n"


def _taker(arguments: argparse.Namespace) -> Any:
    if arguments.no_record:
        return None
    from jobmeter.run.measured.keeping import InFolder, ToServer, state_folder  # noqa: PLC0415 - after the command began

    if arguments.store is not None:
        return InFolder(arguments.store)
    options = []
    for name in ("token_file", "ca", "certificate", "key"):
        if (value := getattr(arguments, name)) is not None:
            options += [f"--{name.replace('_', '-')}", os.path.abspath(value)]  # noqa: PTH100
    folder = arguments.spool or state_folder(os.environ, is_root=os.geteuid() == 0)
    return ToServer(folder.absolute(), arguments.server, options)


def _group(host: Host, job: str) -> OwnGroup | None:
    """A control group of our own, where that is allowed."""
    from jobmeter.contract import SourceAbsent, SourceUnreadable  # noqa: PLC0415 - with the sources

    try:
        return make(host, hierarchies(host), job)
    except (SourceAbsent, SourceUnreadable, OSError):
        return None


def _job_id(host: Host, began_ns: int) -> str:
    """An id that no other run has: when, which process, where."""
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(began_ns // 10**9))
    name = "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in host.name) or "host"
    return f"{stamp}.{began_ns // 1000 % 10**6:06}-{os.getpid()}-{name}"


def _meta(command: list[str], arguments: argparse.Namespace) -> dict[str, str]:
    """What the record says beside numbers. Of the command only its name: arguments may hold secrets."""
    meta = {"site_id": arguments.site, "command": os.path.basename(command[0])}  # noqa: PTH119
    with contextlib.suppress(KeyError):
        meta["user_id"] = pwd.getpwuid(os.getuid()).pw_name
    meta.setdefault("user_id", str(os.getuid()))
    import grp  # noqa: PLC0415 - only at the end

    with contextlib.suppress(KeyError):
        meta["group_id"] = grp.getgrgid(os.getgid()).gr_name
    if arguments.name is not None:
        meta["name"] = arguments.name
    return meta
