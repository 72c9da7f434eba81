"""Options of the command line become the query string of `GET /records`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import quote, quote_plus

COLUMNS = ("start_time", "stop_time", "runtime", "record_id")

_META = {"site": "site_id", "user": "user_id", "group": "group_id"}


def add_question(parser: argparse.ArgumentParser) -> None:
    """Declare the options that choose records."""
    parser.add_argument(
        "--since", type=moment, metavar="TIME", help="stopped then or later; UTC unless it says its zone"
    )
    parser.add_argument("--until", type=moment, metavar="TIME", help="stopped before then")
    for option, key in _META.items():
        parser.add_argument(f"--{option}", metavar="NAME", help=f"whose meta {key} holds NAME")
    parser.add_argument(
        "--meta", type=_pair, action="append", default=[], metavar="KEY=VALUE", help="whose meta KEY holds VALUE"
    )
    parser.add_argument("--component", action="append", default=[], metavar="NAME", help="that have this component")
    add_as_of(parser)
    parser.add_argument("--sort", choices=COLUMNS, metavar="COLUMN", help=f"order by {', '.join(COLUMNS)}")
    parser.add_argument("--descending", action="store_true", help="with --sort: the largest first")
    parser.add_argument("--limit", type=_count, metavar="N", help="at most N records")
    parser.add_argument(
        "--query", metavar="RAW", help="a query string of the server's filter language in place of all these"
    )


def add_as_of(parser: argparse.ArgumentParser) -> None:
    """Declare the instant that is asked about."""
    parser.add_argument("--as-of", type=moment, metavar="TIME", help="as the records were stored at this instant")


def query_of(arguments: argparse.Namespace, otherwise: str) -> str:
    """The query string, without `?`. `otherwise` is added where neither order nor limit was chosen.

    Raises argparse.ArgumentTypeError when `--query` stands beside other choices.
    """
    pairs = [f"{key}={quote_plus(value)}" for key, value in _pairs(arguments)]
    if arguments.query is not None:
        if pairs:
            raise argparse.ArgumentTypeError("--query stands alone: put all conditions into it")
        return str(arguments.query).removeprefix("?").replace(" ", "%20")
    if arguments.sort is None and arguments.limit is None and otherwise:
        pairs.append(otherwise)
    return "&".join(pairs)


def one_record(record_id: str, as_of: datetime | None) -> str:
    """The query string that asks for the record `record_id`, whatever characters it holds."""
    then = "" if as_of is None else f"&as_of={quote_plus(as_of.astimezone(UTC).isoformat())}"
    return f"record_id={quote(record_id, safe='')}{then}"


def moment(text: str) -> datetime:
    """A time or a date of ISO 8601; without a zone it is UTC. Raises argparse.ArgumentTypeError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 2024-01-31 or 2024-01-31T12:00:00Z") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def _pairs(arguments: argparse.Namespace) -> Iterator[tuple[str, str]]:
    for option, operator in (("since", "gte"), ("until", "lt")):
        bound: datetime | None = getattr(arguments, option)
        if bound is not None:
            yield f"stop_time[{operator}]", bound.astimezone(UTC).isoformat()
    if arguments.as_of is not None:
        yield "as_of", arguments.as_of.astimezone(UTC).isoformat()
    values: dict[str, list[str]] = {}
    for option, key in _META.items():
        if getattr(arguments, option) is not None:
            values.setdefault(key, []).append(getattr(arguments, option))
    for key, value in arguments.meta:
        values.setdefault(key, []).append(value)
    for key, wanted in values.items():
        for index, value in enumerate(wanted):
            yield f"meta[{quote_plus(key)}][c][{index}]", value
    for name in arguments.component:
        yield f"component[{quote_plus(name)}][gte]", "0"
    if arguments.sort is not None:
        yield f"sort_by[{'desc' if arguments.descending else 'asc'}]", arguments.sort
    if arguments.limit is not None:
        yield "limit", str(arguments.limit)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number")
    return int(text)
