"""The client library: write and read the records of a jobmeter server from Python.

`Client` waits for its answers, `AsyncClient` awaits them, `QueuedClient` keeps what is written on disk until the
server has it. `Query` says which records are wanted. All errors are `ClientError`s. `jobmeter.client.pyauditor` has the
surface of the superseded `python-auditor`.

Reading and writing need httpx: pip install 'jobmeter[client]'.
"""

from __future__ import annotations

from jobmeter.client.access import Access
from jobmeter.client.asynchronous import AsyncClient
from jobmeter.client.blocking import Client
from jobmeter.client.errors import (
    BrokenAnswerError,
    ClientError,
    ConflictError,
    InvalidError,
    NotAllowedError,
    NotFoundError,
    QueueError,
    RefusedError,
    ServerAwayError,
    TimedOutError,
    TooLargeError,
    UnavailableError,
)
from jobmeter.client.exchange import Letter, Page, TotalGroup, Totals
from jobmeter.client.outcome import RecordOutcome
from jobmeter.client.query import Query
from jobmeter.client.queued import QueuedClient
from jobmeter.model.record import Component, Record, Score

__all__ = [
    "Access",
    "AsyncClient",
    "BrokenAnswerError",
    "Client",
    "ClientError",
    "Component",
    "ConflictError",
    "InvalidError",
    "Letter",
    "NotAllowedError",
    "NotFoundError",
    "Page",
    "Query",
    "QueueError",
    "QueuedClient",
    "Record",
    "RecordOutcome",
    "RefusedError",
    "Score",
    "ServerAwayError",
    "TimedOutError",
    "TooLargeError",
    "TotalGroup",
    "Totals",
    "UnavailableError",
]
