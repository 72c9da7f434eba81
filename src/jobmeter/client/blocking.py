"""The client that waits for its answers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from jobmeter.client import exchange, steps
from jobmeter.client.access import Access
from jobmeter.client.errors import ClientError, UnavailableError
from jobmeter.client.exchange import Call, Letter, Lines, Page, Totals
from jobmeter.client.outcome import RecordOutcome
from jobmeter.client.query import Query
from jobmeter.client.steps import Steps, Wait
from jobmeter.model.record import Record

T = TypeVar("T")

PAGE_RECORDS = 1000


class Client:
    """A kept-open connection to a server; several threads may share one. Close it, or use it with `with`."""

    def __init__(self, access: Access | str) -> None:
        self.access = Access(address=access) if isinstance(access, str) else access
        self._http = httpx.Client(**self.access.options())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def is_healthy(self) -> bool:
        """Whether the server and its database answer now. Asked once."""
        try:
            self._once(exchange.health())
        except ClientError:
            return False
        return True

    def add(self, record: Record) -> RecordOutcome:
        """Store one record: `new`, or `same` for a repeat. Raises ConflictError or InvalidError where it is refused."""
        (outcome,) = self.add_many([record])
        return steps.taken(outcome)

    def add_many(self, records: Iterable[Record]) -> list[RecordOutcome]:
        """Store many records and learn what became of each, in order; a refused one disturbs no other.

        They go in groups. When one fails, the error's `outcomes` tell of the records before it.
        """
        return self._take(steps.adding(self.access, records))

    def stop(self, record_id: str, stop_time: datetime) -> None:
        """Set the stop time of a stored record. Raises NotFoundError."""
        self.ask(exchange.stop(record_id, stop_time))

    def get(self, record_id: str, as_of: datetime | None = None) -> Record:
        """The record with this id; with `as_of`, as it was stored at that instant. Raises NotFoundError."""
        return self.ask(exchange.one(record_id, as_of))

    def records(self, query: Query | str = "") -> Iterator[Record]:
        """The records that match, as they come; memory does not grow with their number.

        Raises BrokenAnswerError or ServerAwayError when the answer breaks off: what came until then is not all. The
        request is repeated only before the first record.
        """
        call = exchange.listing(query)
        for attempt in range(1, self.access.attempts + 1):
            lines = Lines()
            begun = False
            try:
                with self._http.stream(call.method, self.access.url(call.path), headers=call.headers) as response:
                    if response.status_code != 200:
                        raise exchange.refusal(response.status_code, response.headers, response.read())
                    exchange.require_end(response)
                    for piece in response.iter_bytes():
                        for record in lines.feed(piece):
                            begun = True
                            yield record
                yield from lines.end()
                return  # noqa: TRY300 - the end of a stream
            except httpx.HTTPError as fault:
                self._step(
                    steps.pause(self.access, exchange.away(self.access.address, fault), attempt, again=not begun)
                )
            except UnavailableError as fault:
                self._step(steps.pause(self.access, fault, attempt, again=not begun))

    def pages(self, query: Query | None = None, size: int = PAGE_RECORDS) -> Iterator[Page]:
        """The records that match, page by page; a page's `next` may be kept and given to `page` later."""
        cursor: str | None = None
        while True:
            found = self.page(query, size, cursor)
            yield found
            if found.next is None:
                return
            cursor = found.next

    def page(self, query: Query | None = None, size: int = PAGE_RECORDS, cursor: str | None = None) -> Page:
        """One page of the records that match: the first, or the one at `cursor`."""
        return self.ask(exchange.page(query or Query(), size, cursor))

    def totals(
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
        return self.ask(exchange.totals(query or Query(), **lists))

    def dead_letters(self, limit: int = 20) -> list[Letter]:
        """The newest writes that the server refused for good."""
        return self.ask(exchange.letters(limit))

    def ask(self, call: Call[T]) -> T:
        """One call, repeated where that is safe and may help."""
        return self._take(steps.asking(self.access, call))

    def _take(self, doing: Steps[T]) -> T:
        """Take all steps; what came of the last."""
        go, came = doing.send, None
        while True:
            try:
                step = go(came)
            except StopIteration as end:
                result: T = end.value
                return result
            try:
                came, go = self._step(step), doing.send
            except ClientError as error:
                came, go = error, doing.throw

    def _step(self, step: Call[Any] | Wait) -> Any:
        return time.sleep(step.seconds) if isinstance(step, Wait) else self._once(step)

    def _once(self, call: Call[T]) -> T:
        try:
            response = self._http.request(
                call.method, self.access.url(call.path), content=call.body, headers=call.headers
            )
        except httpx.HTTPError as fault:
            raise exchange.away(self.access.address, fault) from fault
        return steps.answer_of(call, response)
