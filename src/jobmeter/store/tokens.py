"""The bearer tokens in the tables of the record store, SQLite or PostgreSQL alike.

Questions are few (the server remembers answers), so SQLAlchemy's engine does for both; connections are made anew as
needed, and one that went away is found out before it is used.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy
from sqlalchemy import Connection, Engine, Row, insert, select, update

from jobmeter.contract import StoreUnavailable
from jobmeter.model.access import Grant
from jobmeter.model.record import from_microseconds, microseconds
from jobmeter.model.token import Token
from jobmeter.store.address import sqlite_path
from jobmeter.store.tables import tokens

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[Grant, ...]).decode

_SECONDS = 5

# A token that was handed out, and above all one that was revoked, survives a crash whatever the server's default.
_OPTIONS = "-c statement_timeout=5s -c synchronous_commit=on"


class Tokens:
    """The TokenStore of the contract at `url`, whose schema must be the present one. Connects when it is asked."""

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)

    def add(self, token: Token, digest: bytes) -> Token:
        """See TokenStore."""
        values = {
            "digest": digest,
            "name": token.name,
            "note": token.note,
            "grants": _encode(token.grants).decode(),
            "created_us": microseconds(token.created),
            "expires_us": _when(token.expires),
            "revoked_us": _when(token.revoked),
        }
        with self._connected() as connection:
            made = connection.execute(insert(tokens).values(values)).inserted_primary_key
        return msgspec.structs.replace(token, number=None if made is None else int(made[0]))

    def all(self) -> list[Token]:
        """See TokenStore."""
        with self._connected() as connection:
            return [_token(row) for row in connection.execute(select(tokens).order_by(tokens.c.no))]

    def find(self, digest: bytes) -> Token | None:
        """See TokenStore."""
        with self._connected() as connection:
            row = connection.execute(select(tokens).where(tokens.c.digest == digest)).one_or_none()
        return None if row is None else _token(row)

    def revoke(self, number: int, moment: datetime) -> Token | None:
        """See TokenStore."""
        here = tokens.c.no == number
        with self._connected() as connection:
            ended = update(tokens).where(here, tokens.c.revoked_us.is_(None)).values(revoked_us=microseconds(moment))
            connection.execute(ended)
            row = connection.execute(select(tokens).where(here)).one_or_none()
        return None if row is None else _token(row)

    def close(self) -> None:
        """See TokenStore."""
        self._engine.dispose()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InternalError, sqlalchemy.exc.InterfaceError) as fault:
            raise StoreUnavailable(str(fault.orig)) from fault
        except sqlalchemy.exc.TimeoutError as fault:
            raise StoreUnavailable("all database connections for tokens are in use") from fault


def _engine(url: str) -> Engine:
    path = sqlite_path(url)
    if path is not None:

        def file() -> sqlite3.Connection:
            return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_SECONDS)

        return sqlalchemy.create_engine("sqlite://", creator=file, poolclass=sqlalchemy.pool.NullPool)
    import psycopg  # noqa: PLC0415 - an extra; SQLite needs none

    def server() -> Any:
        return psycopg.connect(url, connect_timeout=_SECONDS, options=_OPTIONS)

    return sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=server, pool_size=2, max_overflow=2, pool_timeout=_SECONDS, pool_pre_ping=True
    )


def _when(moment: datetime | None) -> int | None:
    return None if moment is None else microseconds(moment)


def _moment(microseconds_: int | None) -> datetime | None:
    return None if microseconds_ is None else from_microseconds(microseconds_)


def _token(row: Row[Any]) -> Token:
    return Token(
        name=row.name,
        grants=_decode(row.grants),
        created=from_microseconds(row.created_us),
        expires=_moment(row.expires_us),
        revoked=_moment(row.revoked_us),
        note=row.note,
        number=row.no,
    )
