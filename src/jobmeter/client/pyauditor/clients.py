"""The three clients of python-auditor. The asynchronous ones ask in threads, so that any event loop may use them."""

from __future__ import annotations

import asyncio
import tempfile
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

import httpx

from jobmeter.client.access import Access
from jobmeter.client.errors import QueueError
from jobmeter.client.exchange import require_end, stop_body
from jobmeter.client.pyauditor.queries import Operator, QueryBuilder, Value
from jobmeter.client.pyauditor.values import Record, read_record
from jobmeter.client.queued import STOP_FORMAT, QueuedClient
from jobmeter.deliver.spool import RECORD_FORMAT
from jobmeter.wire.json_stream import BadStream, objects

_EXISTS = b"RECORD_EXISTS"


class AuditorClientBlocking:
    """Waits for its answers; other threads go on meanwhile. Made by `AuditorClientBuilder`."""

    def __init__(self, access: Access) -> None:
        self._access = access
        try:
            self._http = httpx.Client(**access.options())
        except OSError as fault:  # also ssl.SSLError
            raise RuntimeError(f"the files for TLS cannot be used: {fault}") from fault

    def health_check(self) -> bool:
        """Whether the server answers that it is well."""
        try:
            return self._http.get(self._access.url("/health_check")).status_code < 400
        except httpx.HTTPError:
            return False

    def get(self) -> list[Record]:
        """All records."""
        return self._list("/records")

    def get_started_since(self, timestamp: datetime) -> list[Record]:
        """Records whose job started at this moment or later. Deprecated: use `advanced_query`."""
        since = Operator().gte(Value.set_datetime(timestamp))
        return self.advanced_query(QueryBuilder().with_start_time(since).build())

    def get_stopped_since(self, timestamp: datetime) -> list[Record]:
        """Records whose job stopped at this moment or later. Deprecated: use `advanced_query`."""
        since = Operator().gte(Value.set_datetime(timestamp))
        return self.advanced_query(QueryBuilder().with_stop_time(since).build())

    def advanced_query(self, query_string: str) -> list[Record]:
        """The records that a query string asks for, such as a `QueryBuilder` builds."""
        return self._list(f"/records?{query_string}")

    def get_single_record(self, record_id: str) -> Record:
        """The record with this id."""
        return self._list(f"/record/{quote(record_id, safe='')}")[0]

    def add(self, record: Record) -> None:
        """Store one record."""
        self._send("POST", "/record", record.body())

    def bulk_insert(self, records: Sequence[Record]) -> None:
        """Store many records."""
        self._send("POST", "/records", b"[" + b",".join(record.body() for record in records) + b"]")

    def update(self, record: Record) -> None:
        """Set the stop time of a stored record."""
        self._send("PUT", "/record", record.body())

    def _list(self, path: str) -> list[Record]:
        url = self._access.url(path)
        headers = {"Accept": "application/x-ndjson, */*"}
        try:
            with self._http.stream("GET", url, headers=headers) as response:
                _require_good(response, url)
                require_end(response)
                return [read_record(value) for _, value in objects(response.iter_bytes())]
        except httpx.HTTPError as fault:
            raise _unreached(url, fault) from fault
        except (BadStream, KeyError, TypeError, ValueError) as fault:
            raise RuntimeError(f"Reqwest Error: error decoding response body for url ({url}): {fault}") from fault

    def _send(self, method: str, path: str, body: bytes) -> None:
        url = self._access.url(path)
        try:
            response = self._http.request(method, url, content=body, headers={"Content-Type": "application/json"})
        except httpx.HTTPError as fault:
            raise _unreached(url, fault) from fault
        if response.content == _EXISTS:
            raise RuntimeError(_EXISTS.decode())
        _require_good(response, url, response.text[:500])


class AuditorClient:
    """Every method is awaited. Made by `AuditorClientBuilder`."""

    def __init__(self, access: Access) -> None:
        self._client = AuditorClientBlocking(access)

    async def health_check(self) -> bool:
        """Whether the server answers that it is well."""
        return await asyncio.to_thread(self._client.health_check)

    async def get(self) -> list[Record]:
        """All records."""
        return await asyncio.to_thread(self._client.get)

    async def get_started_since(self, timestamp: datetime) -> list[Record]:
        """Records whose job started at this moment or later. Deprecated: use `advanced_query`."""
        _deprecated("get_started_since")
        return await asyncio.to_thread(self._client.get_started_since, timestamp)

    async def get_stopped_since(self, timestamp: datetime) -> list[Record]:
        """Records whose job stopped at this moment or later. Deprecated: use `advanced_query`."""
        _deprecated("get_stopped_since")
        return await asyncio.to_thread(self._client.get_stopped_since, timestamp)

    async def advanced_query(self, query_string: str) -> list[Record]:
        """The records that a query string asks for, such as a `QueryBuilder` builds."""
        return await asyncio.to_thread(self._client.advanced_query, query_string)

    async def get_single_record(self, record_id: str) -> Record:
        """The record with this id."""
        return await asyncio.to_thread(self._client.get_single_record, record_id)

    async def add(self, record: Record) -> None:
        """Store one record."""
        await asyncio.to_thread(self._client.add, record)

    async def bulk_insert(self, records: Sequence[Record]) -> None:
        """Store many records."""
        await asyncio.to_thread(self._client.bulk_insert, records)

    async def update(self, record: Record) -> None:
        """Set the stop time of a stored record."""
        await asyncio.to_thread(self._client.update, record)


class QueuedAuditorClient(AuditorClient):
    """Writes go into a queue on disk and from there to the server; reads ask the server."""

    def __init__(self, access: Access, queue: Path | None, send_interval_seconds: float) -> None:
        super().__init__(access)
        self._folder = tempfile.TemporaryDirectory(prefix="jobmeter-queue-") if queue is None else None
        path = Path(self._folder.name) / "queue" if self._folder is not None else queue
        if path is None:
            raise RuntimeError("a queue needs a file")
        try:
            self._queued = QueuedClient(access, path, send_every_seconds=send_interval_seconds)
        except QueueError as fault:
            raise RuntimeError(str(fault)) from fault
        self._stopped = False

    async def add(self, record: Record) -> None:
        """Queue one record."""
        await self.bulk_insert([record])

    async def bulk_insert(self, records: Sequence[Record]) -> None:
        """Queue many records."""
        await self._put(RECORD_FORMAT, [record.body() for record in records])

    async def update(self, record: Record) -> None:
        """Queue the stop time of a record."""
        record.body()  # for its checks
        if record.stop_time is None:
            raise RuntimeError("an update needs a stop time")
        await self._put(STOP_FORMAT, [stop_body(record.record_id, record.stop_time.replace(tzinfo=UTC))])

    async def stop(self) -> None:
        """End sending; what is queued stays in the file."""
        if self._stopped:
            raise RuntimeError("Send task is already shut down")
        self._stopped = True
        await asyncio.to_thread(self._queued.stop_sending)

    async def _put(self, kind: str, bodies: list[bytes]) -> None:
        try:
            await asyncio.to_thread(self._queued.queue, kind, bodies)
        except QueueError as fault:
            raise RuntimeError(str(fault)) from fault


def _deprecated(name: str) -> None:
    warnings.warn(f"{name} is deprecated, use advanced_query", DeprecationWarning, stacklevel=3)


def _unreached(url: str, fault: httpx.HTTPError) -> RuntimeError:
    return RuntimeError(f"Reqwest Error: error sending request for url ({url}): {str(fault) or type(fault).__name__}")


def _require_good(response: httpx.Response, url: str, told: str = "") -> None:
    status = response.status_code
    if status < 400:
        return
    side = "client" if status < 500 else "server"
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "unknown"
    more = f": {told}" if told else ""
    raise RuntimeError(f"Reqwest Error: HTTP status {side} error ({status} {phrase}) for url ({url}){more}")
