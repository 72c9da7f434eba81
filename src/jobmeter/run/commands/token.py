"""`jobmeter token`: bearer tokens of the server, made, listed and revoked in its database."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from jobmeter.contract import Clock, StoreUnavailable
from jobmeter.keeping import TokenStore
from jobmeter.model.access import Grant, Limits, Role, limits_fault
from jobmeter.model.token import Token
from jobmeter.observe.host import SystemClock
from jobmeter.run.server.database_options import add_data, database_of
from jobmeter.serve.secret import digest_of, new_secret
from jobmeter.store.address import shown
from jobmeter.store.fault import DatabaseUrlFaulty, SchemaUnfit
from jobmeter.store.migrate import pending, upgrade
from jobmeter.store.tokens import Tokens

SUMMARY: str = "makes, lists and revokes the tokens that clients of the server show"

FAILED = 1
WRONG_USE = 2
DAYS_DEFAULT = 365


class _WrongUse(Exception):  # noqa: N818 - a decision, with a sentence
    pass


def declare(parser: argparse.ArgumentParser) -> None:
    """The subcommands."""
    doing = parser.add_subparsers(dest="doing", required=True, metavar="create|list|revoke")
    create = doing.add_parser("create", help="make a token; its secret is shown once, here")
    create.add_argument("name", metavar="NAME", help="who owns it, for logs: slurm-collector-a")
    create.add_argument(
        "--role",
        action="append",
        required=True,
        choices=[role.value for role in Role],
        help="what it allows; may be given several times",
    )
    create.add_argument("--site", action="append", metavar="SITE", help="only what belongs to this site; repeatable")
    create.add_argument("--cluster", action="append", metavar="CLUSTER", help="only this cluster; repeatable")
    create.add_argument(
        "--record-prefix", action="append", metavar="PREFIX", help="write only records whose ids begin so; repeatable"
    )
    create.add_argument(
        "--meta", action="append", default=[], metavar="KEY=VALUE", help="only records with this in their meta"
    )
    create.add_argument("--days", type=_days, metavar="N", help=f"good for so many days (default: {DAYS_DEFAULT})")
    create.add_argument("--for-ever", action="store_true", help="good until it is revoked")
    create.add_argument("--note", default="", metavar="TEXT", help="what it is for")
    _place(create)
    listed = doing.add_parser("list", help="all tokens, without their secrets")
    listed.add_argument("--json", action="store_true", help="as JSON")
    _place(listed)
    revoke = doing.add_parser("revoke", help="end a token; servers notice within seconds")
    revoke.add_argument("number", metavar="NUMBER", type=int, help="its number, as listed")
    _place(revoke)


def _place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="CONFIG", type=Path, help="settings of the server")
    parser.add_argument("--database", metavar="URL", help="the server's database (default: that of its settings)")
    add_data(parser)


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 36_500):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days from 1 to 36500")
    return int(text)


def execute(arguments: argparse.Namespace) -> int:
    """0: done, 1: the database does not answer, 2: wrong use, or the database is not for this program."""
    url = database_of(arguments)
    try:
        _make_ready(url, fresh=arguments.doing == "create")
        tokens = Tokens(url)
        try:
            return _done(arguments, tokens, SystemClock())
        finally:
            tokens.close()
    except (_WrongUse, DatabaseUrlFaulty, SchemaUnfit) as fault:
        sys.stderr.write(f"jobmeter token: {fault}\n")
        return WRONG_USE
    except StoreUnavailable as fault:
        sys.stderr.write(f"jobmeter token: {shown(url)}: {fault}\n")
        return FAILED


def _make_ready(url: str, *, fresh: bool) -> None:
    """See that the tables are there: `fresh` makes them, so that the first token can come before the first start."""
    if fresh:
        upgrade(url)
    elif pending(url):
        raise _WrongUse(f"{shown(url)}: run `jobmeter migrate` first")


def _done(arguments: argparse.Namespace, tokens: TokenStore, clock: Clock) -> int:
    if arguments.doing == "create":
        return _create(arguments, tokens, clock)
    if arguments.doing == "list":
        return _list(tokens.all(), clock.now(), as_json=arguments.json)
    ended = tokens.revoke(arguments.number, clock.now())
    if ended is None:
        raise _WrongUse(f"there is no token {arguments.number}")
    sys.stdout.write(f"revoked: token {ended.number} ({ended.name})\n")
    return 0


def _create(arguments: argparse.Namespace, tokens: TokenStore, clock: Clock) -> int:
    if arguments.for_ever and arguments.days is not None:
        raise _WrongUse("--days and --for-ever exclude each other")
    now = clock.now()
    expires = None if arguments.for_ever else now + timedelta(days=arguments.days or DAYS_DEFAULT)
    token = Token(arguments.name, (_grant(arguments),), now, expires, note=arguments.note)
    secret = new_secret()
    made = tokens.add(token, digest_of(secret))
    sys.stderr.write(f"token {made.number} ({made.name}), good until {_until(made)}; it is shown this once:\n")
    sys.stdout.write(f"{secret}\n")
    return 0


def _grant(arguments: argparse.Namespace) -> Grant:
    meta: dict[str, tuple[str, ...]] = {}
    for text in arguments.meta:
        key, sign, value = text.partition("=")
        if not sign:
            raise _WrongUse(f"--meta {text!r} is not KEY=VALUE")
        meta[key] = (*meta.get(key, ()), value)
    limits = Limits(_words(arguments.site), _words(arguments.cluster), _words(arguments.record_prefix), meta)
    grant = Grant(frozenset(map(Role, arguments.role)), limits)
    if (fault := limits_fault(grant.roles, limits)) is not None:
        raise _WrongUse(fault)
    return grant


def _words(given: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if given is None else tuple(given)


def _until(token: Token) -> str:
    return "it is revoked" if token.expires is None else f"{token.expires.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _list(tokens: Sequence[Token], now: datetime, *, as_json: bool) -> int:
    if as_json:
        sys.stdout.write(msgspec.json.encode([_shown(token, now) for token in tokens]).decode() + "\n")
        return 0
    for token in tokens:
        grants = "; ".join(_granted(grant) for grant in token.grants)
        note = f"  # {token.note}" if token.note else ""
        sys.stdout.write(f"{token.number}  {token.name}  {_state(token, now)}  {grants}{note}\n")
    return 0


def _state(token: Token, now: datetime) -> str:
    if token.revoked is not None:
        return f"revoked {token.revoked:%Y-%m-%d}"
    if token.expires is None:
        return "good for ever"
    return f"{'good until' if token.good_at(now) else 'expired'} {token.expires:%Y-%m-%d}"


def _granted(grant: Grant) -> str:
    limits = grant.limits
    parts = [("site", limits.sites), ("cluster", limits.clusters), ("record-prefix", limits.prefixes)]
    words = [f"{name}={value}" for name, values in parts for value in values or ()]
    words += [f"meta {key}={value}" for key, values in limits.meta.items() for value in values]
    return " ".join([",".join(sorted(role.value for role in grant.roles)), *words])


def _shown(token: Token, now: datetime) -> dict[str, object]:
    return {
        "number": token.number,
        "name": token.name,
        "note": token.note,
        "good": token.good_at(now),
        "created": token.created,
        "expires": token.expires,
        "revoked": token.revoked,
        "grants": [
            {"roles": sorted(role.value for role in grant.roles), "limits": grant.limits} for grant in token.grants
        ],
    }
