"""Facility documents as the spool keeps them: the document as it will be sent, with the moment of which it is true.

The token is no part of it: it is put on when the document is sent, so that none lies on a disk.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import Struct

from jobmeter.model.document import Document

DOCUMENT_FORMAT = "facility-document/1"
"""The encoding of an entry of the spool: `encode_document`."""


class Envelope(Struct, frozen=True):
    """A document (JSON text of one object) and when it was observed."""

    observed: datetime
    document: msgspec.Raw


class _Kind(Struct, frozen=True):
    kind: str = ""


class _OfAKind(Struct, frozen=True):
    document: _Kind


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Envelope).decode
_kind = msgspec.json.Decoder(_OfAKind).decode


def encode_document(document: Document) -> bytes:
    """The envelope. Raises UnicodeEncodeError for text that is no Unicode, and ValueError for a number that is none."""
    fields = {"kind": document.kind, "cluster": document.cluster, **document.body}
    return encode_fields(document.observed, _encode(fields))


def encode_fields(observed: datetime, fields: bytes) -> bytes:
    """The envelope of a document that is JSON text already."""
    return _encode(Envelope(observed, msgspec.Raw(fields)))


def decode_document(item: bytes) -> Envelope:
    """The envelope that `encode_document` made. Raises msgspec.MsgspecError for anything else."""
    return _decode(item)


def kind_of(item: bytes) -> str:
    """The kind of the document in an envelope. Raises msgspec.MsgspecError for what is none."""
    return _kind(item).document.kind
