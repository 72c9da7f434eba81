"""Publications in a table of the record store's database, SQLite or PostgreSQL alike."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import delete, insert, select

from jobmeter.model.publication import Publication
from jobmeter.model.record import microseconds
from jobmeter.store.connections import Connections
from jobmeter.store.tables import publications

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Publication).decode


class Publications:
    """The `jobmeter.keeping.PublicationStore` at `url`, whose schema must be the present one."""

    def __init__(self, url: str) -> None:
        self._connections = Connections(url)

    def put(self, told: Sequence[Publication]) -> None:
        """See PublicationStore."""
        table = publications.c
        with self._connections.opened() as connection:
            for one in told:
                key = _encode((one.reporter, one.site, one.month, one.day, one.what, one.part, one.made)).decode()
                connection.execute(delete(publications).where(table.identity == key))
                connection.execute(
                    insert(publications).values(
                        identity=key, site=one.site, month=one.month, made_us=microseconds(one.made), body=_encode(one)
                    )
                )

    def between(self, first: str, last: str, limit: int) -> list[Publication]:
        """See PublicationStore."""
        table = publications.c
        found = select(table.body).where(table.month >= first, table.month <= last)
        with self._connections.opened() as connection:
            rows = connection.execute(found.order_by(table.made_us.desc(), table.identity).limit(limit)).all()
        return [_decode(row.body) for row in rows]

    def close(self) -> None:
        """See PublicationStore."""
        self._connections.close()
