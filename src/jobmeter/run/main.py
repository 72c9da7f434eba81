"""The program `jobmeter` and the names of the superseded programs that it answers to."""

from __future__ import annotations

import argparse
import gc
import os
import select
import sys
from collections.abc import Sequence

from jobmeter import __version__
from jobmeter.run.commands import command, is_command, summaries

FAILED = 1
WRONG_USE = 2
INTERRUPTED = 130
READER_GONE = 141

_DESCRIPTION = "Measures every job, user and node of a compute facility, keeps the account, and reports it."

_MORE = """\
jobmeter COMMAND --help says more; the guide is /docs of every server, or the folder docs.
Exit codes: 0 fine, 1 the work failed, 2 wrong use or settings; `jobmeter run` has that of its command.

examples:
  jobmeter up                                         this machine, live, at http://127.0.0.1:8000
  jobmeter run -- ./simulate --steps 1000             a command, measured
  jobmeter sample-config slurm > slurm.toml           every setting, described
  jobmeter check slurm.toml                           every fault with its line
  jobmeter why 4711                                   how well a job ran"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. The exit code: 0 fine, 1 the work failed, 2 wrong use or configuration, 130 interrupted.

    141 (as of a shell) when the reader of standard output went away, which is no fault of anybody.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(words)
        sys.stdout.flush()
    except SystemExit as leave:
        return _code(leave)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as fault:  # noqa: BLE001 - the outermost border: whatever it is becomes a line and an exit code
        return _explained(fault)
    return code


def auditor(argv: Sequence[str] | None = None) -> int:
    """`auditor [CONFIG]` is `jobmeter serve --as-auditor [CONFIG]`, `auditor migrate` is `jobmeter migrate`."""
    words = list(sys.argv[1:] if argv is None else argv)
    if "migrate" in words:
        words.remove("migrate")
        return main(["migrate", "--as-auditor", *words])
    return main(["serve", "--as-auditor", *words])


def auditor_slurm_collector(argv: Sequence[str] | None = None) -> int:
    """`auditor-slurm-collector CONFIG` is `jobmeter collect slurm CONFIG`."""
    words = sys.argv[1:] if argv is None else argv
    return main(["collect", "slurm", *words])


def auditor_slurm_epilog_collector(argv: Sequence[str] | None = None) -> int:
    """`auditor-slurm-epilog-collector CONFIG` is `jobmeter collect slurm-epilog CONFIG`."""
    words = sys.argv[1:] if argv is None else argv
    return main(["collect", "slurm-epilog", *words])


def auditor_htcondor_collector(argv: Sequence[str] | None = None) -> int:
    """`auditor-htcondor-collector -c CONFIG` is `jobmeter collect htcondor -c CONFIG`."""
    words = sys.argv[1:] if argv is None else argv
    return main(["collect", "htcondor", *words])


def auditor_kubernetes_collector(argv: Sequence[str] | None = None) -> int:
    """`auditor-kubernetes-collector [CONFIG]` is `jobmeter collect kubernetes CONFIG`; by default, config.yml."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0].startswith("-"):
        words.insert(0, "config.yml")
    return main(["collect", "kubernetes", *words])


def afmetrics_collector(argv: Sequence[str] | None = None) -> int:
    """`afmetrics_collector` is `jobmeter facility`, which says only what is wrong unless told otherwise."""
    words = sys.argv[1:] if argv is None else argv
    return main(["facility", "--as-afmetrics-collector", *words])


def colmet_collector(argv: Sequence[str] | None = None) -> int:
    """`colmet-collector` is `jobmeter gather --as-colmet`."""
    words = sys.argv[1:] if argv is None else argv
    return main(["gather", "--as-colmet", *words])


def colmet_node(argv: Sequence[str] | None = None) -> int:
    """`colmet-node ...` is `jobmeter node --as-colmet ...`."""
    words = sys.argv[1:] if argv is None else argv
    return main(["node", "--as-colmet", *words])


def auditor_apel_publish(argv: Sequence[str] | None = None) -> int:
    """`auditor-apel-publish -c CONFIG` is `jobmeter report apel publish -c CONFIG`."""
    words = sys.argv[1:] if argv is None else argv
    return main(["report", "apel", "publish", *words])


def auditor_apel_republish(argv: Sequence[str] | None = None) -> int:
    """`auditor-apel-republish -s SITE … -c CONFIG` is `jobmeter report apel republish -s SITE … -c CONFIG`."""
    words = sys.argv[1:] if argv is None else argv
    return main(["report", "apel", "republish", *words])


def auditor_priority_plugin(argv: Sequence[str] | None = None) -> int:
    """`auditor-priority-plugin CONFIG` is `jobmeter report priority CONFIG`."""
    words = sys.argv[1:] if argv is None else argv
    return main(["report", "priority", *words])


def auditor_utilization_plugin(argv: Sequence[str] | None = None) -> int:
    """`auditor-utilization-plugin -c CONFIG` is `jobmeter report utilization -c CONFIG`."""
    words = sys.argv[1:] if argv is None else argv
    return main(["report", "utilization", *words])


def _run(words: list[str]) -> int:
    if words and is_command(words[0]):
        before, name, rest = argparse.Namespace(), words[0], words[1:]
    else:
        known = summaries()
        top = _top_parser(known)
        count = _leading_options(words)
        before = top.parse_args(words[:count])
        if count == len(words):
            top.print_help()
            return WRONG_USE
        name, rest = words[count], words[count + 1 :]
        if name not in known:
            top.error(f"there is no command {name!r}; there is: {', '.join(known)}")
    gc.disable()  # importing makes no garbage, and looking for it takes 5 ms of what a job's epilog may take
    chosen = command(name)
    gc.freeze()
    gc.enable()
    parser = argparse.ArgumentParser(prog=f"jobmeter {name}", description=chosen.SUMMARY, formatter_class=_formatter)
    chosen.declare(parser)
    add_log_level(parser)
    given = parser.parse_args(rest)
    del parser  # what runs for months needs it no more
    from jobmeter.run.log import start_logging  # noqa: PLC0415 - --help does not log

    for name_of in ("log_level", "log_format"):
        setattr(given, name_of, getattr(given, name_of, None) or getattr(before, name_of, None))
    start_logging(given.log_level, as_json=given.log_format == "json")
    return chosen.execute(given)


def _formatter(prog: str) -> argparse.HelpFormatter:
    """Lays out the help. Left to itself it imports archives and compression to learn how wide the terminal is."""
    return argparse.HelpFormatter(prog, width=_columns() - 2)


def _columns() -> int:
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:  # there is no output, or it is no terminal
        return 80


def _top_parser(known: dict[str, str]) -> argparse.ArgumentParser:
    width = max((len(name) for name in known), default=0)
    listing = "\n".join(f"  {name:<{width}}  {summary}" for name, summary in known.items())
    parser = argparse.ArgumentParser(
        prog="jobmeter",
        usage="jobmeter [-h] [--version] [--log-level LEVEL] [--log-format FORMAT] COMMAND ...",
        description=_DESCRIPTION,
        epilog=f"commands:\n{listing}\n\n{_MORE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"jobmeter {__version__}")
    add_log_level(parser)
    return parser


def add_log_level(parser: argparse.ArgumentParser) -> None:
    """Give a command the options that all have, unless it has one of this name itself."""
    try:
        parser.add_argument(
            "--log-level",
            type=str.lower,
            choices=("trace", "debug", "info", "warn", "error", "off"),
            metavar="LEVEL",
            help="events to log: trace, debug, info (default), warn, error or off",
        )
        parser.add_argument(
            "--log-format",
            choices=("text", "json"),
            metavar="FORMAT",
            help="how events are written: text (default), or json, an object a line",
        )
    except argparse.ArgumentError:
        return


def _leading_options(words: list[str]) -> int:
    """How many of the words stand before the command."""
    count = 0
    while count < len(words) and words[count].startswith("-"):
        count += 2 if words[count] in ("--log-level", "--log-format") else 1
    return min(count, len(words))


def _code(leave: SystemExit) -> int:
    if leave.code is None:
        return 0
    if isinstance(leave.code, int):
        return leave.code
    print(leave.code, file=sys.stderr)  # noqa: T201
    return FAILED


def _explained(fault: Exception) -> int:
    """Says the fault in one line, its trace only when debugging, and gives the exit code."""
    if isinstance(fault, BrokenPipeError) and _reader_gone():
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return READER_GONE
    from jobmeter.run.log import debugging  # noqa: PLC0415 - only when something is wrong
    from jobmeter.settings.fault import SettingsFaulty  # noqa: PLC0415

    if isinstance(fault, SettingsFaulty):
        print(fault, file=sys.stderr)  # noqa: T201
        return WRONG_USE
    if isinstance(fault, ModuleNotFoundError) and not debugging():
        from jobmeter.run.missing import sentence  # noqa: PLC0415

        if (told := sentence(fault)) is not None:
            print(f"jobmeter: {told}", file=sys.stderr)  # noqa: T201
            return WRONG_USE
    if debugging():
        import traceback  # noqa: PLC0415

        traceback.print_exception(fault)
    else:
        text = " ".join(str(fault).split())
        hint = "(--log-level debug shows where)"
        print(f"jobmeter: {type(fault).__name__}: {text} {hint}", file=sys.stderr)  # noqa: T201
    return FAILED


def _reader_gone() -> bool:
    """Whether standard output is a pipe that nobody reads any more; a broken connection elsewhere is another matter."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError):
        return False
