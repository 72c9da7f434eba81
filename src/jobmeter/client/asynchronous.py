"""The client that awaits its answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from jobmeter.client import exchange, steps
from jobmeter.client.access import Access
from jobmeter.client.blocking import PAGE_RECORDS
from jobmeter.client.errors import ClientError, UnavailableError
from jobmeter.client.exchange import Call, Letter, Lines, Page, Totals
from jobmeter.client.outcome import RecordOutcome
from jobmeter.client.query import Query
from jobmeter.client.steps import Steps, Wait
from jobmeter.model.record import Record

T = TypeVar("T")


class AsyncClient:
    """A kept-open connection to a server, for one event loop. Close it, or use it with `async with`."""

    def __init__(self, access: Access | str) -> None:
        self.access = Access(address=access) if isinstance(access, str) else access
        self._http = httpx.AsyncClient(**self.access.options())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def is_healthy(self) -> bool:
        """Whether the server and its database answer now. Asked once."""
        try:
            await self._once(exchange.health())
        except ClientError:
            return False
        return True

    async def add(self, record: Record) -> RecordOutcome:
        """Store one record: `new`, or `same` for a repeat. Raises ConflictError or InvalidError where it is refused."""
        (outcome,) = await self.add_many([record])
        return steps.taken(outcome)

    async def add_many(self, records: Iterable[Record]) -> list[RecordOutcome]:
        """Store many records and learn what became of each, in order; a refused one disturbs no other.

        They go in groups. When one fails, the error's `outcomes` tell of the records before it.
        """
        return await self._take(steps.adding(self.access, records))

    async def stop(self, record_id: str, stop_time: datetime) -> None:
        """Set the stop time of a stored record. Raises NotFoundError."""
        await self.ask(exchange.stop(record_id, stop_time))

    async def get(self, record_id: str, as_of: datetime | None = None) -> Record:
        """The record with this id; with `as_of`, as it was stored at that instant. Raises NotFoundError."""
        return await self.ask(exchange.one(record_id, as_of))

    async def records(self, query: Query | str = "") -> AsyncIterator[Record]:
        """The records that match, as they come; memory does not grow with their number.

        Raises BrokenAnswerError or ServerAwayError when the answer breaks off: what came until then is not all. The
        request is repeated only before the first record.
        """
        call = exchange.listing(query)
        for attempt in range(1, self.access.attempts + 1):
            lines = Lines()
            begun = False
            try:
                async with self._http.stream(call.method, self.access.url(call.path), headers=call.headers) as response:
                    if response.status_code != 200:
                        raise exchange.refusal(response.status_code, response.headers, await response.aread())
                    exchange.require_end(response)
                    async for piece in response.aiter_bytes():
                        for record in lines.feed(piece):
                            begun = True
                            yield record
                for record in lines.end():
                    yield record
                return  # noqa: TRY300 - the end of a stream
            except httpx.HTTPError as fault:
                await self._step(
                    steps.pause(self.access, exchange.away(self.access.address, fault), attempt, again=not begun)
                )
            except UnavailableError as fault:
                await self._step(steps.pause(self.access, fault, attempt, again=not begun))

    async def pages(self, query: Query | None = None, size: int = PAGE_RECORDS) -> AsyncIterator[Page]:
        """The records that match, page by page; a page's `next` may be kept and given to `page` later."""
        cursor: str | None = None
        while True:
            found = await self.page(query, size, cursor)
            yield found
            if found.next is None:
                return
            cursor = found.next

    async def page(self, query: Query | None = None, size: int = PAGE_RECORDS, cursor: str | None = None) -> Page:
        """One page of the records that match: the first, or the one at `cursor`."""
        return await self.ask(exchange.page(query or Query(), size, cursor))

    async def totals(
        self,
        query: Query | None = None,
        *,
        group_by: Sequence[str] = (),
        sums: Sequence[str] = (),
        minima: Sequence[str] = (),
        maxima: Sequence[str] = (),
    ) -> Totals:
        """Sums over the records that match, worked out by the server: `group_by=["site_id", "month"]`,
        `sums=["count", "Cores*runtime"]`. Without a measure it is the count.
        """
        lists = {"group_by": group_by, "sum": sums, "min": minima, "max": maxima}
        return await self.ask(exchange.totals(query or Query(), **lists))

    async def dead_letters(self, limit: int = 20) -> list[Letter]:
        """The newest writes that the server refused for good."""
        return await self.ask(exchange.letters(limit))

    async def ask(self, call: Call[T]) -> T:
        """One call, repeated where that is safe and may help."""
        return await self._take(steps.asking(self.access, call))

    async def _take(self, doing: Steps[T]) -> T:
        """Take all steps; what came of the last."""
        go, came = doing.send, None
        while True:
            try:
                step = go(came)
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                came, go = await self._step(step), doing.send
            except ClientError as error:
                came, go = error, doing.throw

    async def _step(self, step: Call[Any] | Wait) -> Any:
        return await asyncio.sleep(step.seconds) if isinstance(step, Wait) else await self._once(step)

    async def _once(self, call: Call[T]) -> T:
        try:
            response = await self._http.request(
                call.method, self.access.url(call.path), content=call.body, headers=call.headers
            )
        except httpx.HTTPError as fault:
            raise exchange.away(self.access.address, fault) from fault
        return steps.answer_of(call, response)
