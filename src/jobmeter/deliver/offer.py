"""What a batch brings to the spool, whatever it is of: encoded items, each with the name by which it repeats."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from msgspec import Struct

from jobmeter.contract import DocumentBatch, JobBatch
from jobmeter.deliver.days import RECORD_FORMAT
from jobmeter.deliver.seen import Kind
from jobmeter.wire.auditor import encode_sent
from jobmeter.wire.document import DOCUMENT_FORMAT, encode_document

T = TypeVar("T")


class Offer(Struct, frozen=True):
    """Items of one format, each (name, body); one without a name repeats nothing. The rest is as in `JobBatch`."""

    format: str
    kind: Kind
    items: list[tuple[str | None, bytes]]
    refused: list[tuple[bytes, str]]
    cursor: str
    seen: int
    ignored: int
    first_counts: bool


def offer_of(batch: JobBatch | DocumentBatch) -> Offer:
    """The batch as items. What has no encoding is refused."""
    refused: list[tuple[bytes, str]] = []
    items: list[tuple[str | None, bytes]]
    if isinstance(batch, DocumentBatch):
        items = [(document.identity, body) for document, body in _encoded(batch.documents, encode_document, refused)]
        seen = len(batch.documents)
        return Offer(DOCUMENT_FORMAT, Kind.DOCUMENT, items, refused, batch.cursor, seen, 0, first_counts=True)
    items = [(record.record_id, body) for record, body in _encoded(batch.records, encode_sent, refused)]
    refused += [(bytes_of(entry.raw), entry.reason) for entry in batch.refused]
    ignored = sum(batch.ignored.values())
    return Offer(RECORD_FORMAT, Kind.RECORD, items, refused, batch.cursor, batch.seen, ignored, batch.first_counts)


def _encoded(
    things: Iterable[T], encode: Callable[[T], bytes], refused: list[tuple[bytes, str]]
) -> list[tuple[T, bytes]]:
    done: list[tuple[T, bytes]] = []
    for thing in things:
        try:
            done.append((thing, encode(thing)))
        except UnicodeEncodeError as error:
            refused.append((bytes_of(repr(thing)), f"holds text that is no Unicode: {error.reason}"))
    return done


def bytes_of(text: str) -> bytes:
    """The text's bytes. That of a command may carry undecodable ones as lone surrogates; they are kept as they came."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")
