"""The options of AUDITOR's HTCondor collector on the command line; they win over the settings file."""

from __future__ import annotations

import argparse
import re

from msgspec.structs import replace

from jobmeter.observe.htcondor.settings import LOG_LEVELS, Settings

_JOB = re.compile(r"\d+(?:\.\d+)?", re.ASCII)


def declare(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "-j", "--job-id", type=_job, metavar="CLUSTER[.PROC]", help="begin after this job, whatever was read before"
    )
    parser.add_argument(
        "-n", "--schedd-names", action="append", metavar="SCHEDD", help="a schedd to read; may be given again"
    )
    parser.add_argument("-k", "--history-file", metavar="FILE", help="a history file to read instead of the schedds'")
    parser.add_argument(
        "-l", "--log-level", type=_level, metavar="LEVEL", help="DEBUG, INFO (default), WARNING, ERROR or CRITICAL"
    )
    parser.add_argument("-f", "--log-file", metavar="FILE", help="a file that the log goes to as well")
    parser.add_argument("-i", "--interval", type=_seconds, metavar="SECONDS", help="time between two readings (900)")
    parser.add_argument(
        "-1", "--one-shot", dest="once", action="store_true", default=argparse.SUPPRESS, help="the same as --once"
    )


def adjusted(settings: Settings, arguments: argparse.Namespace) -> Settings:
    """The settings, with what was given on the command line instead."""
    given = {
        "since_job": arguments.job_id,
        "schedd_names": None if arguments.schedd_names is None else tuple(arguments.schedd_names),
        "history_file": arguments.history_file,
        "log_file": arguments.log_file,
        "interval": arguments.interval,
    }
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


def _job(text: str) -> str:
    if _JOB.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a job, as 17 or 17.0 is")
    return text


def _level(text: str) -> str:
    """Our name of a log level; AUDITOR's are taken in any case."""
    ours = LOG_LEVELS.get(text.upper(), text.lower())
    if ours not in ("trace", "debug", "info", "warn", "error", "off"):
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(LOG_LEVELS)}")
    return ours


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < 10**9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time in seconds")
    return seconds
