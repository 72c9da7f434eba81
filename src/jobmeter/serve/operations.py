"""The operations of the server as data: the description in OpenAPI and the page at `/` are made from this table."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from jobmeter.model.collection import Collection
from jobmeter.model.publication import Publication
from jobmeter.model.record import Record
from jobmeter.model.sample import SampleBatch
from jobmeter.model.summary import JobSummary
from jobmeter.serve.answer import Problem
from jobmeter.serve.collections import Reconciliation, Taken
from jobmeter.serve.conflicts import Ruling, ShownConflict
from jobmeter.serve.document_operations import DOCUMENT_OPERATIONS
from jobmeter.serve.history import Correction, Done, KeptVersion, Verified, Withdrawal
from jobmeter.serve.operation import Kind, Operation, Reply
from jobmeter.serve.ours import Letter
from jobmeter.serve.publications import PublicationList, PublicationsTaken
from jobmeter.serve.samples import SamplesTaken
from jobmeter.serve.summaries import SummariesTaken, SummaryList
from jobmeter.serve.totals import Totals
from jobmeter.serve.writes import Refusals
from jobmeter.wire.verdict import Verdicts


class StoredRecord(Record, frozen=True):
    """A record in an answer: absent values are null, and the whole seconds from start to stop are added."""

    runtime: int | None = None


class RecordList(Struct, frozen=True):
    """A page of records; `next` is the cursor of the page behind it, null when there is none."""

    records: list[StoredRecord]
    next: str | None


class MetricValues(Struct, frozen=True):
    """One metric of a series. `form`: value, mean, min, max, rate (unit per second) or increase."""

    name: str
    unit: str
    kind: str
    form: str
    values: list[float | int | str | None]


class SampleSeries(Struct, frozen=True):
    """Samples of one source about one job, or about a node; the values stand in the order of the times."""

    node: str
    source: str
    times: list[float]
    metrics: list[MetricValues]
    manager: str | None = None
    cluster: str | None = None
    job: str | None = None
    run: int | None = None
    instance: str = ""
    resets: int = 0


class SampleAnswer(Struct, frozen=True):
    """All series that answer the question."""

    series: list[SampleSeries]


class RecordUpdate(Record, frozen=True):
    """The body of `PUT /record`: `stop_time` is required and alone changes; `start_time` is not needed."""


_DONE = Reply(200, "Stored. Empty, but for a warning in JSON where a duplicate is ignored by configuration.")
_EXISTS = Reply(409, "A record with this id and other content exists: RECORD_EXISTS.", (str,), (Kind.TEXT,))
_REFUSED = (
    Reply(400, "The body can never be stored; it is kept among the dead letters.", (Problem,)),
    Reply(413, "The body is too large.", (Problem,)),
    Reply(415, "The body is compressed in a way that is not known.", (Problem,)),
)
_AWAY = Reply(503, "Not possible now; ask again after the time in Retry-After.", (Problem,))
_BROKEN = Reply(500, "The database does not answer.", (Problem,))
_NO_SAMPLES = Reply(404, "This server has no sample store.", (Problem,))
_SAMPLES_REFUSED = (
    Reply(400, "The body is no batch of samples.", (Problem,)),
    Reply(403, "The asker may not tell of this cluster.", (Problem,)),
    *_REFUSED[1:],
)
_SAMPLE_FORMS = (Kind.JSON, Kind.LINES, Kind.CSV)
_SAMPLE_FILTERS = (
    *("sample.manager", "sample.cluster", "sample.job", "sample.run", "sample.node", "sample.source"),
    *("sample.metric", "sample.from", "sample.to", "sample.step", "sample.involving", "sample.node_only"),
)
_UNKNOWN = Reply(401, "Nobody knows who asks: no token, or none that is good now.", (Problem,))
_FORBIDDEN = Reply(403, "It is known who asks, and they may not.", (Problem, Refusals))
OPEN_PATHS = frozenset({"/health_check"})
"""What nobody needs a name for."""


def replies_of(operation: Operation) -> tuple[Reply, ...]:
    """Every answer of an operation, those of the door included."""
    at_the_door = () if operation.path in OPEN_PATHS else (_UNKNOWN, _FORBIDDEN)
    given = {reply.status for reply in operation.replies}
    return (*operation.replies, *(reply for reply in at_the_door if reply.status not in given))


_FILTERS = (
    "record_id",
    "start_time",
    "stop_time",
    "runtime",
    "meta",
    "component",
    "sort_by",
    "limit",
    "score",
    "as_of",
)

_CHANGED = (
    Reply(200, "It is so now.", (Done,)),
    Reply(400, "The body is not understood.", (Problem,)),
    Reply(403, "The asker may not change this record.", (Problem,)),
    Reply(404, "There is no such record.", (Problem,)),
    *_REFUSED[1:],
    _AWAY,
)

OPERATIONS: tuple[Operation, ...] = (
    Operation("POST", "/record", "addRecord", "Add one record.", (_DONE, *_REFUSED, _EXISTS), Record),
    Operation(
        "PUT",
        "/record",
        "stopRecord",
        "Set the stop time of a record.",
        (_DONE, *_REFUSED, Reply(404, "There is no record with this id.", (str,), (Kind.TEXT,))),
        RecordUpdate,
    ),
    Operation(
        "POST",
        "/records",
        "addRecords",
        "Add many records; one that is refused discards none of the others.",
        (_DONE, Reply(400, _REFUSED[0].says, (Refusals, Problem)), *_REFUSED[1:], _EXISTS),
        list[Record],
    ),
    Operation(
        "GET",
        "/record/{record_id}",
        "getRecord",
        "One record by its id.",
        (
            Reply(200, "The record.", (StoredRecord,)),
            Reply(400, "No record can have this id, or there is no such instant.", (Problem,)),
            Reply(404, "There is no such record.", (Problem,)),
            _BROKEN,
        ),
        parameters=("id", "as_of"),
    ),
    Operation(
        "GET",
        "/records",
        "getRecords",
        "Records that match a filter, as JSON lines or as an array.",
        (
            Reply(
                200,
                "JSON objects, one a line; an array when Accept names application/json and no wildcard.",
                (),
                (Kind.JSON, Kind.LINES),
            ),
            Reply(400, "The filter is not understood.", (Problem,)),
            _AWAY,
        ),
        parameters=_FILTERS,
    ),
    Operation(
        "GET",
        "/v2/records",
        "listRecords",
        "Records that match a filter: JSON in pages; JSON lines, CSV or Parquet as pages or whole.",
        (
            Reply(
                200,
                "The form that Accept asks for. JSON is always a page, the others where limit is at most 10,000; "
                "a header Link with rel=next tells where the next page begins.",
                (RecordList,),
                (Kind.JSON, Kind.LINES, Kind.CSV, Kind.PARQUET),
            ),
            Reply(400, "The filter, the cursor or a column is not understood.", (Problem,)),
            Reply(406, "Accept names no form that there is.", (Problem,)),
            _AWAY,
        ),
        parameters=(*_FILTERS, "cursor", "columns", "format"),
    ),
    Operation(
        "POST",
        "/v2/records",
        "putRecords",
        "Add many records and learn what became of each.",
        (Reply(200, "One outcome per record, in order.", (Verdicts,)), *_REFUSED, _AWAY),
        list[Record],
        (Kind.JSON, Kind.LINES),
    ),
    Operation(
        "GET",
        "/v2/samples",
        "getSamples",
        "Samples of jobs and nodes, as they came or by periods.",
        (
            Reply(200, "A table per series; times are seconds since 1970.", (SampleAnswer,), _SAMPLE_FORMS),
            Reply(400, "The question is not understood.", (Problem,)),
            _NO_SAMPLES,
            Reply(406, "Accept names no form that there is.", (Problem,)),
            _AWAY,
        ),
        parameters=(*_SAMPLE_FILTERS, "format.samples"),
    ),
    Operation(
        "POST",
        "/v2/samples",
        "putSamples",
        "Add samples; those that are counted as accepted are durable.",
        (Reply(200, "How many are stored, and which are not.", (SamplesTaken,)), *_SAMPLES_REFUSED, _NO_SAMPLES, _AWAY),
        SampleBatch,
    ),
    Operation(
        "GET",
        "/v2/samples/tail",
        "followSamples",
        "Samples as they come, as Server-Sent Events.",
        (
            Reply(200, "Events named sample, their data a JSON object.", (), (Kind.EVENTS,)),
            Reply(400, "The question is not understood.", (Problem,)),
            _NO_SAMPLES,
            _AWAY,
        ),
        parameters=_SAMPLE_FILTERS,
    ),
    Operation(
        "GET",
        "/v2/totals",
        "getTotals",
        "Sums over the records that match a filter, by group.",
        (
            Reply(200, "The groups, in CSV when Accept names it.", (Totals,), (Kind.JSON, Kind.CSV)),
            Reply(400, "Not understood, or there are too many groups.", (Problem,)),
            _AWAY,
        ),
        parameters=("group_by", "sum", "min", "max", *_FILTERS[:6], "score", "as_of", "format.csv"),
    ),
    Operation(
        "POST",
        "/v2/collections",
        "reportCollection",
        "What a collector says of its spool and its days.",
        (Reply(200, "Taken; a repeat changes nothing.", (Taken,)), *_REFUSED, _AWAY),
        Collection,
    ),
    Operation(
        "GET",
        "/v2/reconciliation",
        "getReconciliation",
        "What was seen, stored, refused and is waiting, per source and day; what was published of it, per month.",
        (Reply(200, "The days.", (Reconciliation,)), Reply(400, "Not understood.", (Problem,)), _AWAY),
        parameters=("first_day", "day_behind", "source"),
    ),
    Operation(
        "GET",
        "/v2/records/{record_id}/versions",
        "getVersions",
        "The states that a record no longer has, with who changed it, when and why.",
        (Reply(200, "Oldest first.", (list[KeptVersion],)), Reply(404, "There is no such record.", (Problem,)), _AWAY),
        parameters=("id",),
    ),
    Operation(
        "POST",
        "/v2/records/{record_id}/corrections",
        "correctRecord",
        "Replace a record; what it was is kept.",
        _CHANGED,
        Correction,
        parameters=("id",),
    ),
    Operation(
        "POST",
        "/v2/records/{record_id}/withdrawal",
        "withdrawRecord",
        "Take a record out of the account; what it was is kept, and its id stays taken.",
        _CHANGED,
        Withdrawal,
        parameters=("id",),
    ),
    Operation(
        "GET",
        "/v2/summaries",
        "getSummaries",
        "Summaries of jobs, by record or by job.",
        (
            Reply(200, "The summaries, run by run.", (SummaryList,)),
            Reply(400, "Neither a record nor a job is named.", (Problem,)),
            _AWAY,
        ),
        parameters=("sample.manager", "sample.cluster", "sample.job", "record_id"),
    ),
    Operation(
        "POST",
        "/v2/summaries",
        "putSummaries",
        "Add summaries of jobs; of several of a job the one that tells most is kept.",
        (Reply(200, "All are stored, durably.", (SummariesTaken,)), *_SAMPLES_REFUSED, _AWAY),
        list[JobSummary],
    ),
    Operation(
        "GET",
        "/v2/verification",
        "verifyVersions",
        "Whether a kept version was changed or taken out.",
        (Reply(200, "What was found.", (Verified,)), _AWAY),
    ),
    Operation(
        "GET",
        "/v2/conflicts",
        "getConflicts",
        "Records that were sent with the id of a stored one and other content.",
        (Reply(200, "By number.", (list[ShownConflict],)), Reply(400, "Not understood.", (Problem,)), _AWAY),
        parameters=("letters", "conflict.after", "conflict.state"),
    ),
    Operation(
        "POST",
        "/v2/conflicts/{number}",
        "decideConflict",
        "Keep what is stored, or take the record that was sent in its place.",
        (*_CHANGED, Reply(409, "It was decided otherwise, or the record is gone.", (Problem,))),
        Ruling,
        parameters=("conflict",),
    ),
    Operation(
        "GET",
        "/v2/publications",
        "getPublications",
        "What reporters told somebody outside, by month.",
        (Reply(200, "The newest first.", (PublicationList,)), Reply(400, "No such month.", (Problem,)), _AWAY),
        parameters=("month.from", "month.to"),
    ),
    Operation(
        "POST",
        "/v2/publications",
        "putPublications",
        "Tell what was published; what was told before is told anew.",
        (Reply(200, "All are stored, durably.", (PublicationsTaken,)), *_SAMPLES_REFUSED, _AWAY),
        list[Publication],
    ),
    Operation(
        "GET",
        "/v2/dead-letters",
        "getDeadLetters",
        "The newest writes that were refused for good, with the reason.",
        (Reply(200, "Dead letters, newest first.", (list[Letter],)), Reply(400, "No such limit.", (Problem,)), _AWAY),
        parameters=("letters",),
    ),
    Operation(
        "GET",
        "/health_check",
        "checkHealth",
        "Whether the database answers.",
        (Reply(200, "It does."), Reply(500, "It does not.")),
    ),
    Operation(
        "GET",
        "/metrics",
        "getMetrics",
        "The state of this server for Prometheus.",
        (Reply(200, "Prometheus text.", (str,), (Kind.TEXT,)),),
    ),
    Operation(
        "GET", "/openapi.json", "getOpenapi", "This description.", (Reply(200, "OpenAPI 3.1.", (dict[str, Any],)),)
    ),
    *DOCUMENT_OPERATIONS,
)
