"""`jobmeter records add`: the records of a file through the server sink, each outcome told."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence

from jobmeter.model.outcome import Accepted, Outcome, Rejected
from jobmeter.report.visible import visible
from jobmeter.run.server_options import endpoint_of
from jobmeter.sinks.server import ServerSink, Settings, open_sink
from jobmeter.wire.auditor import BadRecord, split_array
from jobmeter.wire.json_stream import BadStream, objects


def sink_settings_of(arguments: argparse.Namespace) -> Settings:
    """The server that the options name, as the sink takes it."""
    where = endpoint_of(arguments)
    return Settings(
        address=where.address,
        timeout_seconds=where.timeout_seconds,
        ca_file=where.ca_file,
        certificate_file=where.certificate_file,
        key_file=where.key_file,
        token=None if arguments.token_file else os.environ.get("JOBMETER_TOKEN") or None,
        token_file=arguments.token_file,
    )


def add(body: bytes, server: Settings, *, as_json: bool) -> int:
    """Send every record of `body`, JSON lines or an array; 0 when the server holds them all, else 1.

    Nothing is sent when the body is malformed. Records that could not be sent now are told as "kept": send them again.
    """
    try:
        items = _items(body)
    except (BadRecord, BadStream) as fault:
        sys.stderr.write(f"jobmeter records: nothing was sent: {fault}\n")
        return 1
    number = accepted = 0
    sink = open_sink(server)
    try:
        for item, outcome in _sent(items, sink):
            number += 1
            accepted += isinstance(outcome, Accepted)
            sys.stdout.write(f"{_told(item, outcome, as_json=as_json)}\n")
    finally:
        sink.close()
    counts = sink.counts
    sys.stderr.write(
        f"{accepted} of {number} records accepted: {counts.new} new, {counts.same} with equal content before"
        f"{f', {counts.existed} whose id existed before' if counts.existed else ''}\n"
    )
    return 0 if accepted == number else 1


def _items(body: bytes) -> Sequence[bytes]:
    if body.lstrip()[:1] == b"[":
        return split_array(body)
    return [text.encode() for text, _ in objects([body])]


def _sent(items: Sequence[bytes], sink: ServerSink) -> Iterator[tuple[bytes, Outcome]]:
    for start in range(0, len(items), sink.batch_limit):
        group = items[start : start + sink.batch_limit]
        yield from zip(group, sink.send(group), strict=True)


def _told(item: bytes, outcome: Outcome, *, as_json: bool) -> str:
    record = json.loads(item)
    record_id = record.get("record_id") if isinstance(record, dict) else None
    word = {Accepted: "accepted", Rejected: "refused"}.get(type(outcome), "kept")
    reason = "" if isinstance(outcome, Accepted) else outcome.reason
    if as_json:
        return json.dumps({"record_id": record_id, "outcome": word, "reason": reason})
    return f"{word:<8}  {visible(str(record_id))}{f'  {visible(reason)}' if reason else ''}"
