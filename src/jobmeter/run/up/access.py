"""Tokens of a `jobmeter up` that asks who one is: one for its own processes, and one for the person, shown once."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from jobmeter.contract import Clock
from jobmeter.keeping import TokenStore
from jobmeter.model.access import Grant, Role
from jobmeter.model.token import Token
from jobmeter.serve.secret import digest_of, new_secret
from jobmeter.store.migrate import upgrade
from jobmeter.store.tokens import Tokens

OWN_NAME = "jobmeter up"
"""Shown by the processes of `up` themselves."""
OWNER_NAME = "owner of jobmeter up"
OWNER_DAYS = 365

_OWN_ROLES = frozenset({Role.WRITE, Role.WRITE_DOCUMENTS})
_OWNER_ROLES = frozenset({Role.READ, Role.CORRECT, Role.ADMINISTER, Role.MONITOR})


def own_file(data: Path) -> Path:
    """The file with the token that the processes of `up` show. Nobody but its user can read it."""
    return data / "up" / "token"


def make_tokens(data: Path, url: str, clock: Clock, show: Callable[[str], None]) -> None:
    """See that both tokens are there and good; `show` is given the owner's secret when it is made.

    Raises OSError, StoreUnavailable, SchemaUnfit and DatabaseUrlFaulty.
    """
    upgrade(url)
    tokens = Tokens(url)
    try:
        _own(own_file(data), tokens, clock)
        now = clock.now()
        if not any(each.name == OWNER_NAME and each.good_at(now) for each in tokens.all()):
            secret = new_secret()
            tokens.add(_token(OWNER_NAME, _OWNER_ROLES, now, now + timedelta(days=OWNER_DAYS)), digest_of(secret))
            show(secret)
    finally:
        tokens.close()


def _own(file: Path, tokens: TokenStore, clock: Clock) -> None:
    if file.exists():
        kept = tokens.find(digest_of(file.read_text(encoding="ascii").strip()))
        if kept is not None and kept.good_at(clock.now()):
            return
    secret = new_secret()
    tokens.add(_token(OWN_NAME, _OWN_ROLES, clock.now(), None), digest_of(secret))
    fresh = file.with_name(f"{file.name}.fresh")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(f"{secret}\n")
    fresh.replace(file)


def _token(name: str, roles: frozenset[Role], now: datetime, expires: datetime | None) -> Token:
    return Token(name, (Grant(roles),), now, expires, note="made by jobmeter up")
