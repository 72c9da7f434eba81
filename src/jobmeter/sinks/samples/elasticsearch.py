"""Sends samples to Elasticsearch or OpenSearch as documents, by `_bulk`, in Colmet's form where Colmet has one.

An index for each class of records: prefix and the class's name in small letters; samples that Colmet has no class for
go to prefix and source. A document's id is made of its content, so that one that is sent again is no second one. What
the server does not take now is kept, document by document; only a document that it can never take is rejected.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from jobmeter.model.outcome import Accepted, Keep, Outcome, Rejected
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.peer import TIMEOUT_MAX_SECONDS, Answer, Endpoint, Peer, PeerAway
from jobmeter.settings.fault import WrongValue
from jobmeter.wire.colmet import ColmetRecord, columns
from jobmeter.wire.colmet_samples import SECOND_NS, ColmetForm, job_number

_BODY_MAX_BYTES = 8 * 2**20
_LARGEST = 2**63 - 1
_REASON_MAX_CHARACTERS = 500
_BAD_NAME = re.compile(r"[^a-z0-9_.-]", re.ASCII)
_KEEP_STATUSES = frozenset({401, 403, 404, 408, 429})

log = logging.getLogger("jobmeter.sinks")


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the server is, and how the indices are called."""

    address: Annotated[
        str, Meta(description="Address; without a scheme, http is meant.", examples=["https://localhost:9200"])
    ] = "http://localhost:9200"
    index_prefix: Annotated[str, Meta(description="Beginning of the indices' names, in small letters.")] = "jobmeter_"
    credentials_file: Annotated[str | None, Meta(description="A file that holds `user:password`.")] = None
    check_certificates: Annotated[bool, Meta(description="Whether the server must show a certificate we trust.")] = True
    ca_file: Annotated[str | None, Meta(description="PEM file of an authority to trust besides the system's.")] = None
    timeout_seconds: Annotated[
        float, Meta(gt=0, le=TIMEOUT_MAX_SECONDS, description="How long an answer may take.")
    ] = 30
    documents_at_once: Annotated[int, Meta(ge=1, le=100_000, description="Documents in one request.")] = 2000
    mapping_type: Annotated[
        str, Meta(description="The mapping type that servers before version 7 want, such as `doc`; empty: none.")
    ] = ""

    def __post_init__(self) -> None:
        if (fault := self.endpoint.fault()) is not None:
            raise WrongValue("address", fault)
        if _BAD_NAME.search(self.index_prefix):
            raise WrongValue("index_prefix", "an index has small letters, digits, `_`, `.` and `-` in its name")

    @property
    def endpoint(self) -> Endpoint:
        """Where to connect to."""
        address = self.address if "://" in self.address else f"http://{self.address}"
        return Endpoint(address, self.timeout_seconds, self.ca_file)


class _Document(Struct, frozen=True):
    index: str
    lines: bytes
    members: tuple[int, ...]


class _KeepAll(Exception):  # noqa: N818 - a decision, carried to where the other documents are
    def __init__(self, reason: str, delay_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.keep = Keep(delay_seconds, reason)


class ElasticsearchSink:
    """A sample sink (see `jobmeter.contract.SampleSink`)."""

    def __init__(self, settings: Settings) -> None:
        self.batch_limit = settings.documents_at_once
        self._settings = settings
        self._form = ColmetForm()
        self._content_type = ""
        self._authorization = _authorization(settings.credentials_file)
        context = None if settings.check_certificates else _trusting()
        self._peer = Peer(settings.endpoint, tls=context, headers=self._headers)
        self._known: set[str] = set()
        self._body_max_bytes = _BODY_MAX_BYTES

    def write(self, batch: SampleBatch) -> Sequence[Outcome]:
        """Send the batch; what could not be sent now is kept, with the server's reason."""
        outcomes: list[Outcome] = [Keep(reason="was not sent")] * len(batch.samples)
        try:
            for group in _groups(list(self._documents(batch)), self._body_max_bytes):
                self._send(group, outcomes)
        except (PeerAway, _KeepAll) as fault:
            keep = fault.keep if isinstance(fault, _KeepAll) else Keep(reason=str(fault))
            return [keep if isinstance(each, Keep) and each.reason == "was not sent" else each for each in outcomes]
        return outcomes

    def flush(self) -> None:
        """Nothing: what was accepted is durable there."""

    def reopen(self) -> None:
        """Nothing: there are no files."""

    def close(self) -> None:
        """Close the connection."""
        self._peer.close()

    def _documents(self, batch: SampleBatch) -> Iterator[_Document]:
        converted = self._form.converted(batch)
        for made in converted.made:
            yield self._document(made.record.kind, _of_record(made.record), made.members)
        for place in converted.rest:
            sample = batch.samples[place]
            yield self._document(sample.source, _of_sample(sample), (place,))

    def _document(self, kind: str, fields: Mapping[str, object], members: tuple[int, ...]) -> _Document:
        index = self._settings.index_prefix + _BAD_NAME.sub("_", kind.lower())
        body = msgspec.json.encode(fields)
        name = base64.urlsafe_b64encode(hashlib.blake2b(body, digest_size=15).digest()).decode()
        action: dict[str, str] = {"_index": index, "_id": name}
        if self._settings.mapping_type:
            action["_type"] = self._settings.mapping_type
        return _Document(index, msgspec.json.encode({"create": action}) + b"\n" + body + b"\n", members)

    def _send(self, group: Sequence[_Document], outcomes: list[Outcome]) -> None:
        for index in {document.index for document in group} - self._known:
            self._see_to(index)
        answer = self._exchange(
            "POST", "/_bulk", b"".join(document.lines for document in group), "application/x-ndjson"
        )
        if answer.status == 413:
            self._send_less(group, outcomes, answer)
            return
        for document, outcome in zip(group, self._judged(answer, len(group)), strict=True):
            for member in document.members:
                outcomes[member] = outcome

    def _send_less(self, group: Sequence[_Document], outcomes: list[Outcome], answer: Answer) -> None:
        if len(group) == 1:
            for member in group[0].members:
                outcomes[member] = Rejected(f"status 413: {_text(answer)}")
            return
        self._body_max_bytes = max(1000, sum(len(document.lines) for document in group) // 2)
        middle = len(group) // 2
        self._send(group[:middle], outcomes)
        self._send(group[middle:], outcomes)

    def _judged(self, answer: Answer, number: int) -> list[Outcome]:
        if answer.status != 200:
            raise _KeepAll(f"status {answer.status}: {_text(answer)}", _asked_seconds(answer))
        try:
            items = msgspec.json.decode(answer.body)["items"]
            results = [next(iter(item.values())) for item in items]
            outcomes = [self._outcome(result) for result in results]
        except (
            msgspec.MsgspecError,
            UnicodeDecodeError,
            LookupError,
            TypeError,
            AttributeError,
            StopIteration,
        ) as fault:
            raise _KeepAll(f"the answer is not understood: {fault!r}: {_text(answer)}") from None
        if len(outcomes) != number:
            raise _KeepAll(f"the answer tells of {len(outcomes)} documents instead of {number}")
        return outcomes

    def _outcome(self, result: Mapping[str, Any]) -> Outcome:
        status = int(result["status"])
        if 200 <= status < 300 or status == 409:  # the id is there already: it was sent before
            return Accepted()
        reason = f"status {status}: {str(result.get('error'))[:_REASON_MAX_CHARACTERS]}"
        if status in _KEEP_STATUSES or status >= 500:
            if status == 404:
                self._known.discard(str(result.get("_index")))
            return Keep(0.0, reason)
        return Rejected(reason)

    def _see_to(self, index: str) -> None:
        """Make the index with the type of its time, unless it is there."""
        answer = self._exchange("HEAD", f"/{index}")
        if answer.status == 404:
            properties = {"properties": {"timestamp": {"type": "date", "format": "epoch_second"}}}
            typed = {self._settings.mapping_type: properties} if self._settings.mapping_type else properties
            answer = self._exchange("PUT", f"/{index}", msgspec.json.encode({"mappings": typed}), "application/json")
            if answer.status == 400 and b"already_exists" in answer.body:
                answer = Answer(200, {}, b"")
            if answer.status == 200:
                log.info("elasticsearch.index_made index=%s", index)
        if answer.status != 200:
            raise _KeepAll(f"index {index}: status {answer.status}: {_text(answer)}", _asked_seconds(answer))
        self._known.add(index)

    def _exchange(self, method: str, path: str, body: bytes | None = None, content_type: str = "") -> Answer:
        self._content_type = content_type
        return self._peer.exchange(method, path, body)

    def _headers(self) -> dict[str, str]:
        found = {} if self._authorization is None else {"Authorization": self._authorization}
        return {**found, "Content-Type": self._content_type} if self._content_type else found


def open_sink(settings: Settings) -> ElasticsearchSink:
    """The sink. Raises OSError and ValueError for files that do not serve; the server may be away."""
    return ElasticsearchSink(settings)


def _of_record(record: ColmetRecord) -> dict[str, object]:
    fields: dict[str, object] = {"hostname": record.host, "job_id": record.job, "timestamp": record.stamp_seconds}
    for name, value in zip(columns(record.kind), record.values, strict=True):
        if isinstance(value, str):
            fields[name] = msgspec.Raw(value.encode())
        elif value is not None:
            fields[name] = min(value, _LARGEST) if isinstance(value, int) else value
    return fields


def _of_sample(sample: Sample) -> dict[str, object]:
    fields: dict[str, object] = {
        "hostname": sample.node,
        "job_id": job_number(sample.job),
        "timestamp": sample.time_ns // SECOND_NS,
        "time_ns": sample.time_ns,
    }
    if sample.job is not None:
        job = sample.job
        fields.update(job=job.job, manager=job.manager, cluster=job.cluster, run=job.run)
    if sample.instance:
        fields["instance"] = sample.instance
    if sample.involved:
        fields["involved_jobs"] = [job_number(job) for job in sample.involved]
    for name, value in zip(sample.metrics, sample.values, strict=True):
        if value is not None:
            fields[name] = min(value, _LARGEST) if isinstance(value, int) else value
    return fields


def _groups(documents: Sequence[_Document], most_bytes: int) -> Iterator[Sequence[_Document]]:
    start, size = 0, 0
    for place, document in enumerate(documents):
        if place > start and size + len(document.lines) > most_bytes:
            yield documents[start:place]
            start, size = place, 0
        size += len(document.lines)
    if start < len(documents):
        yield documents[start:]


def _authorization(file: str | None) -> str | None:
    if file is None:
        return None
    user, colon, password = Path(file).read_text(encoding="utf-8").rstrip().partition(":")
    if not colon:
        raise ValueError(f"{file}: holds no user:password")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _asked_seconds(answer: Answer) -> float:
    asked = answer.headers.get("retry-after", "").strip()
    return float(asked[:6]) if asked.isascii() and asked.isdigit() else 0.0


def _text(answer: Answer) -> str:
    return answer.body[:_REASON_MAX_CHARACTERS].decode("utf-8", "replace").strip() or "no details"
