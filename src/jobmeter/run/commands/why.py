"""`jobmeter why JOB`: in sentences, how long a job waited, what it used and wasted, and which flag to change.

Exit codes: 0 said, 1 the server is away or its answer broke off, 2 wrong use, 4 there is no such job.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import datetime

import msgspec
from msgspec import Struct

from jobmeter.model.question import Bound, MetaCondition, Op, Order, Question, Scope
from jobmeter.model.record import Record, microseconds
from jobmeter.peer import TlsFilesUnusable
from jobmeter.report.visible import visible
from jobmeter.report.why.facts import Facts, facts_of
from jobmeter.report.why.job import Report, explain
from jobmeter.report.why.names import ARRAYS, JOBS, QUANTITIES, Names
from jobmeter.report.why.several import Several
from jobmeter.report.why.words import Figure, Statement, name, say
from jobmeter.report.why.words import moment as moment_of
from jobmeter.run.account import Account, AccountAway
from jobmeter.run.month_argument import month_argument
from jobmeter.run.records.question import moment
from jobmeter.run.server_options import add_server, endpoint_of, shown_to

SUMMARY: str = "says in sentences what jobs used and wasted, and which flag to change"

OK, FAILED, WRONG_USE, NOTHING = 0, 1, 2, 4
MANAGERS = ("slurm", "htcondor", "oar", "kubernetes", "jobmeter")
_EVERYTHING = Scope.everything()


class _Said(Struct):
    """What `--json` prints."""

    about: str
    statements: tuple[Statement, ...]
    jobs: list[dict[str, object]]


def declare(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("job", nargs="?", metavar="JOB", help="id of a record, or of a job as its batch system has it")
    parser.add_argument("--manager", metavar="NAME", help="with the id of a job: its batch system")
    parser.add_argument("--cluster", metavar="NAME", help="with the id of a job: its cluster")
    parser.add_argument("--array", action="store_true", help="JOB is the id of an array: all of its jobs")
    for option in ("user", "group", "site"):
        parser.add_argument(f"--{option}", metavar="NAME", help=f"in place of JOB: the jobs of this {option}")
    parser.add_argument("--month", type=month_argument, metavar="YYYY-MM", help="that ended in this month")
    parser.add_argument("--since", type=moment, metavar="TIME", help="that ended then or later; UTC without a zone")
    parser.add_argument("--until", type=moment, metavar="TIME", help="that ended before then")
    parser.add_argument("--co2", type=_rate, metavar="KG", help="kilograms of carbon dioxide per kilowatt-hour")
    parser.add_argument(
        "--component",
        type=_component,
        action="append",
        default=[],
        metavar="WHAT=NAME",
        help="the component that has WHAT, where records call it otherwise: "
        + ", ".join(f"{name} ({metric.unit})" for name, metric in QUANTITIES.items()),
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_server(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Say it."""
    endpoint = endpoint_of(arguments)
    if (fault := endpoint.fault() or _misuse(arguments)) is not None:
        return _say(fault, WRONG_USE)
    try:
        account = Account(endpoint, headers=shown_to(arguments))
    except TlsFilesUnusable as unusable:
        return _say(str(unusable), WRONG_USE)
    try:
        report = _report(arguments, account)
    except AccountAway as fault_:
        return _say(str(fault_), FAILED)
    finally:
        account.close()
    if report is None:
        return _say("there is no such job" if arguments.job else "there are no such jobs", NOTHING)
    _print(report, as_json=arguments.json)
    return OK


def _report(arguments: argparse.Namespace, account: Account) -> Report | None:
    names = Names(dict(arguments.component))
    if arguments.job is None or arguments.array:
        several = Several()
        for each in _many(arguments, account):
            several.add(facts_of(each, None, names))
        return several.report(arguments.co2, _which(arguments)) if several.jobs else None
    record = _one(arguments, account)
    if record is None:
        return None
    return explain(facts_of(record, account.summary(record.record_id), names), arguments.co2)


def _one(arguments: argparse.Namespace, account: Account) -> Record | None:
    """The record with this id, or that of the job with it: by the ids that our collectors make, or by its meta."""
    managers = MANAGERS if arguments.manager is None else (arguments.manager,)
    ids = () if arguments.manager else (arguments.job,)
    if arguments.cluster is None:
        ids = (*ids, *(f"{manager}-{arguments.job}" for manager in managers))
    for record_id in ids:
        if (found := next(account.records(Question(_EVERYTHING, record_id=record_id)), None)) is not None:
            return found
    for key in JOBS:
        question = Question(_EVERYTHING, meta=(MetaCondition(key, (arguments.job,)), *_where(arguments)))
        for found in account.records(question):
            facts = facts_of(found)
            if arguments.manager is None or facts.manager == arguments.manager:
                return found
    return None


def _many(arguments: argparse.Namespace, account: Account) -> Iterator[Record]:
    """The records of an array, or of a user, group, site or period, each once."""
    if arguments.job is None:
        yield from account.records(_question(arguments, ()))
        return
    for key in ARRAYS:
        found = account.records(_question(arguments, (MetaCondition(key, (arguments.job,)),)))
        first = next(found, None)
        if first is not None:
            yield first
            yield from found
            return


def _question(arguments: argparse.Namespace, more: tuple[MetaCondition, ...]) -> Question:
    since, until = _bounds(arguments)
    bounds = [(Op.GTE, since), (Op.LT, until)]
    stop_time = tuple(Bound(op, microseconds(when)) for op, when in bounds if when is not None)
    return Question(_EVERYTHING, stop_time=stop_time, meta=(*more, *_where(arguments)), order=Order())


def _bounds(arguments: argparse.Namespace) -> tuple[datetime | None, datetime | None]:
    if arguments.month is not None:
        return arguments.month.period.start, arguments.month.period.stop
    return arguments.since, arguments.until


def _which(arguments: argparse.Namespace) -> Statement:
    """How the jobs were chosen, as the end of a sentence."""
    since, until = _bounds(arguments)
    figures: dict[str, Figure] = {}
    text = ""
    chosen = (
        ("of array", arguments.job), ("of user", arguments.user), ("of group", arguments.group),
        ("at site", arguments.site), ("on cluster", arguments.cluster),
    )  # fmt: skip
    for words, value in chosen:
        if value is not None:
            figures[words.split()[1]] = name(value)
            text += f" {words} {{{words.split()[1]}}}"
    if since is not None:
        figures["since"] = moment_of(since)
        text += " that ended from {since} " + ("on" if until is None else "until {until}")
    elif until is not None:
        text += " that ended before {until}"
    if until is not None:
        figures["until"] = moment_of(until)
    return say("jobs", text, **figures)


def _where(arguments: argparse.Namespace) -> tuple[MetaCondition, ...]:
    chosen = {"user_id": arguments.user, "group_id": arguments.group, "site_id": arguments.site}
    chosen["cluster"] = arguments.cluster
    return tuple(MetaCondition(key, (value,)) for key, value in chosen.items() if value is not None)


def _misuse(arguments: argparse.Namespace) -> str | None:
    chosen = [arguments.user, arguments.group, arguments.site, arguments.month, arguments.since, arguments.until]
    if arguments.month is not None and (arguments.since is not None or arguments.until is not None):
        return "--month stands in place of --since and --until"
    if arguments.array and arguments.job is None:
        return "--array needs the id of an array"
    if arguments.job is None and all(each is None for each in chosen):
        return "name a job, or jobs by --user, --group, --site, --month, --since or --until"
    if arguments.job is not None and not arguments.array and any(each is not None for each in chosen):
        return "a job stands alone; --user, --group, --site and periods choose several"
    return None


def _print(report: Report, *, as_json: bool) -> None:
    if as_json:
        said = _Said(report.about, report.statements, [fields(facts) for facts in report.jobs])
        sys.stdout.write(f"{msgspec.json.encode(said).decode()}\n")
        return
    for statement in report.statements:
        sys.stdout.write(f"{visible(statement.text)}\n")


def fields(facts: Facts) -> dict[str, object]:
    """The facts by name, with those that follow from them."""
    derived = ("core_seconds", "cpu_efficiency", "memory_efficiency", "wasted_core_seconds", "wasted_byte_seconds")
    return {name: getattr(facts, name) for name in (*Facts.__struct_fields__, *derived)}


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of kilograms")
    return value


def _component(text: str) -> tuple[str, str]:
    quantity, equals, name = text.partition("=")
    if not (equals and name) or quantity not in QUANTITIES:
        raise argparse.ArgumentTypeError(f"{text!r} is not WHAT=NAME with one of {', '.join(QUANTITIES)}")
    return quantity, name


def _say(sentence: str, code: int) -> int:
    sys.stderr.write(f"jobmeter why: {visible(sentence)}\n")
    return code
