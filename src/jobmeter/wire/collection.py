"""The report of a collector as JSON: the body of `POST /v2/collections`."""

from __future__ import annotations

import msgspec

from jobmeter.model.collection import Collection
from jobmeter.model.record import name_fault


class BadCollection(ValueError):  # noqa: N818 - what it is, not that it is an error
    """A body that is no such report; the message says where it departs."""


_decode = msgspec.json.Decoder(Collection).decode


def encode_collection(collection: Collection) -> bytes:
    """The report as one JSON object."""
    return msgspec.json.encode(collection)


def decode_collection(body: bytes) -> Collection:
    """The report in a body. Raises BadCollection."""
    try:
        found = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as fault:
        raise BadCollection(str(fault)) from None
    for field, name in (("source", found.source), ("spool", found.spool), ("prefix", found.prefix or "x")):
        if (reason := name_fault(name)) is not None:
            raise BadCollection(f"{field}: {reason}")
    if "\0" in found.version or not found.version.isprintable():
        raise BadCollection("version: is no line of text")
    for count in found.days:
        if count.waiting < 0:
            raise BadCollection(f"days: {count.day}: more is settled than was collected")
    return found
