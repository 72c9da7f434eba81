"""The operations on facility documents, for the table of all."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from jobmeter.model.facility import Waits
from jobmeter.serve.answer import Problem
from jobmeter.serve.facility import Hosts, QueuesOfSteps, Sessions, UsersOfSpans
from jobmeter.serve.operation import Kind, Operation, Reply


class DocumentShown(Struct, frozen=True):
    """A document as it is listed: when it came, of when it is true, and what it says."""

    number: int | None
    received: str
    observed: str
    document: dict[str, Any]


class DocumentsListed(Struct, frozen=True):
    """Documents, the newest first; `before` asks for those after them, null at the end."""

    documents: list[DocumentShown]
    before: int | None


_AWAY = Reply(503, "Not possible now; ask again after the time in Retry-After.", (Problem,))
_BAD = Reply(400, "A parameter is not understood.", (Problem,))
_SPAN = ("cluster", "since", "until")
_TAKEN = (
    Reply(200, "All of it is stored. Empty."),
    Reply(400, "One of them is no document; nothing was stored.", (Problem,)),
    Reply(401, "The token of one of them is unknown; nothing was stored.", (Problem,)),
    Reply(403, "A token may not tell of that cluster; nothing was stored.", (Problem,)),
    Reply(413, "The body is too large.", (Problem,)),
    Reply(415, "The body is compressed in a way that is not known.", (Problem,)),
    _AWAY,
)
_ONE_OR_MANY = dict[str, Any] | list[dict[str, Any]]


def _question(name: str, says: str, answer: Any, *parameters: str) -> Operation:
    replies = (Reply(200, says, (answer,), (Kind.JSON, Kind.CSV)), _BAD, _AWAY)
    given = (*parameters, "format.csv")
    return Operation("GET", f"/v2/facility/{name}", f"get{name.title()}", says, replies, parameters=given)


DOCUMENT_OPERATIONS: tuple[Operation, ...] = (
    Operation("POST", "/", "addDocumentsAsBefore", "As `POST /v2/documents`.", _TAKEN, _ONE_OR_MANY, (Kind.JSON,)),
    Operation(
        "POST", "/v2/documents", "addDocuments", "Add a facility document or an array of them, all or none.", _TAKEN,
        _ONE_OR_MANY, (Kind.JSON,),
    ),
    Operation(
        "GET", "/v2/documents", "listDocuments", "Facility documents, the newest first.",
        (Reply(200, "A page of documents.", (DocumentsListed,)), _BAD, _AWAY),
        parameters=("kind", *_SPAN, "login_node", "before", "documents_limit"),
    ),
    _question("users", "Different people, in all and by way of use.", UsersOfSpans, *_SPAN, "by"),
    _question("sessions", "Sessions, as far as they were observed.", Sessions, *_SPAN),
    _question("queues", "Depth of queues in steps of time.", QueuesOfSteps, *_SPAN, "queue", "step_seconds"),
    _question("waits", "How long jobs waited.", Waits, *_SPAN),
    _question("hosts", "How the hosts are.", Hosts, "cluster"),
)  # fmt: skip
