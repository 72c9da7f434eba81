"""The bearer tokens in the tables of the record store, SQLite or PostgreSQL alike."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, insert, select, update

from jobmeter.model.access import Grant
from jobmeter.model.record import from_microseconds, microseconds
from jobmeter.model.token import Token
from jobmeter.store.connections import Connections
from jobmeter.store.tables import tokens

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[Grant, ...]).decode


class Tokens:
    """The TokenStore of the contract at `url`, whose schema must be the present one. Connects when it is asked."""

    def __init__(self, url: str) -> None:
        self._connections = Connections(url)

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
        with self._connections.opened() as connection:
            made = connection.execute(insert(tokens).values(values)).inserted_primary_key
        return msgspec.structs.replace(token, number=None if made is None else int(made[0]))

    def all(self) -> list[Token]:
        """See TokenStore."""
        with self._connections.opened() as connection:
            return [_token(row) for row in connection.execute(select(tokens).order_by(tokens.c.no))]

    def find(self, digest: bytes) -> Token | None:
        """See TokenStore."""
        with self._connections.opened() as connection:
            row = connection.execute(select(tokens).where(tokens.c.digest == digest)).one_or_none()
        return None if row is None else _token(row)

    def revoke(self, number: int, moment: datetime) -> Token | None:
        """See TokenStore."""
        here = tokens.c.no == number
        with self._connections.opened() as connection:
            ended = update(tokens).where(here, tokens.c.revoked_us.is_(None)).values(revoked_us=microseconds(moment))
            connection.execute(ended)
            row = connection.execute(select(tokens).where(here)).one_or_none()
        return None if row is None else _token(row)

    def close(self) -> None:
        """See TokenStore."""
        self._connections.close()


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
