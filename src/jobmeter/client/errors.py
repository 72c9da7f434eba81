"""What can go wrong, one class per thing that a caller may want to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from jobmeter.client.outcome import RecordOutcome


class ClientError(Exception):
    """Any error of this library. `outcomes` tells of the records that were answered for before it happened."""

    outcomes: Sequence[RecordOutcome] = ()


class ServerAwayError(ClientError):
    """The server could not be reached, or gave no whole answer. What was written may have been stored: write again."""


class TimedOutError(ServerAwayError):
    """The server did not answer in time."""


class BrokenAnswerError(ClientError):
    """An answer ended before its end, or is not what this server answers. What came before it is not all."""


class RefusedError(ClientError):
    """The server said no. `status` is that of HTTP, `reason` a sentence, `field` what is to blame where one is."""

    def __init__(self, status: int, reason: str, field: str | None = None) -> None:
        super().__init__(f"status {status}: {reason}")
        self.status = status
        self.reason = reason
        self.field = field


class InvalidError(RefusedError):
    """What was sent can never be taken: a record that is none, a query that is not understood (400, 415, 422)."""


class NotAllowedError(RefusedError):
    """Who asks may not do this (401, 403)."""


class NotFoundError(RefusedError):
    """There is no such record, or no such path at this address (404, 405)."""


class ConflictError(RefusedError):
    """Another record with this id is stored already (409); it was left as it is."""


class TooLargeError(RefusedError):
    """The body is larger than this server takes (413)."""


class UnavailableError(RefusedError):
    """The server cannot do it now (429, 5xx); `retry_after_seconds` is the wait that it asks for, 0 without one."""

    def __init__(self, status: int, reason: str, field: str | None = None, retry_after_seconds: float = 0.0) -> None:
        super().__init__(status, reason, field)
        self.retry_after_seconds = retry_after_seconds


class QueueError(ClientError):
    """The queue's file cannot be used now, is full, or is damaged; nothing was queued."""
