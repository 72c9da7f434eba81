"""`jobmeter records versions|correct|withdraw|conflicts|verify`: changes of stored records, through the server.

Who changes is whom the server takes the asker for: a token or a certificate; the reason is given with `--why`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jobmeter.peer import Peer
from jobmeter.run.records.answer import FAILED, OK, WRONG_USE, Refusal, decoded, decoded_objects, write_lines
from jobmeter.run.records.text import table

_PATH = "/v2/records/{}/{}"
_VERSION_HEADS = ("VERSION", "ENDED", "AT", "WHO", "WHY", "WHAT CHANGED")
_CONFLICT_HEADS = ("NUMBER", "RECORD", "RECEIVED", "SENT", "FROM", "DECISION", "WHAT DIFFERS")


def versions(arguments: argparse.Namespace, peer: Peer) -> int:
    """Print what a record was before each change."""
    path = _PATH.format(quote(arguments.record_id, safe=""), "versions")
    found = decoded_objects(peer.exchange("GET", path))
    if arguments.json:
        write_lines((json.dumps(one) for one in found), sys.stdout)
        return OK
    states = [one["record"] for one in found]
    # What follows the last version is the record itself; a withdrawn one is followed by nothing.
    last = None if not found or found[-1]["ended"] == "withdrawn" else _stored(peer, arguments.record_id)
    rows = (
        [str(one["number"]), one["ended"], _moment(one["at"]), one["who"] or "-", one["why"] or "-", _differs(was, now)]
        for one, was, now in zip(found, states, [*states[1:], last], strict=True)
    )
    write_lines(table(_VERSION_HEADS, rows), sys.stdout)
    return OK


def correct(arguments: argparse.Namespace, peer: Peer) -> int:
    """Replace the stored record by that of a file."""
    try:
        body = sys.stdin.buffer.read() if arguments.file == "-" else Path(arguments.file).read_bytes()
        record = json.loads(body)
    except OSError as fault:
        raise Refusal(f"{arguments.file}: {fault.strerror}", WRONG_USE) from None
    except ValueError as fault:
        raise Refusal(f"{arguments.file}: {fault}", WRONG_USE) from None
    if not isinstance(record, dict) or not isinstance(record.get("record_id"), str):
        raise Refusal(f"{arguments.file}: is not one record, an object with a record_id", WRONG_USE)
    path = _PATH.format(quote(record["record_id"], safe=""), "corrections")
    return _changed(arguments, peer, path, {"why": arguments.why, "record": record})


def withdraw(arguments: argparse.Namespace, peer: Peer) -> int:
    """Take a record out of the account."""
    path = _PATH.format(quote(arguments.record_id, safe=""), "withdrawal")
    return _changed(arguments, peer, path, {"why": arguments.why})


def conflicts(arguments: argparse.Namespace, peer: Peer) -> int:
    """List conflicts, or decide one."""
    if arguments.number is not None:
        if arguments.decision is None or arguments.why is None:
            raise Refusal("to decide a conflict give its number, keep or take, and --why", WRONG_USE)
        given = {"decision": arguments.decision, "why": arguments.why}
        return _changed(arguments, peer, f"/v2/conflicts/{arguments.number}", given)
    state = "decided" if arguments.decided else "open"
    listed = _listed(peer, state, arguments.limit)
    if arguments.json:
        write_lines((json.dumps(one) for one in listed), sys.stdout)
        return OK
    rows = (
        [
            str(one["number"]),
            one["record_id"],
            _moment(one["received"]),
            str(one["sent"]),
            one["origin"],
            f"{one['decision']} by {one['who']}: {one['why']}" if one["decision"] else "-",
            _differs(one["stored"], one["record"]),
        ]
        for one in listed
    )
    write_lines(table(_CONFLICT_HEADS, rows), sys.stdout)
    return OK


def verify(arguments: argparse.Namespace, peer: Peer) -> int:
    """Have the server walk the chain of versions."""
    found = decoded(peer.exchange("GET", "/v2/verification"))
    if arguments.json:
        write_lines([json.dumps(found)], sys.stdout)
    elif found["faults"]:
        write_lines((fault.encode("unicode_escape").decode() for fault in found["faults"]), sys.stdout)
        write_lines([f"{found['fault_count']} faults"], sys.stdout)
    else:
        write_lines(["the chain holds"], sys.stdout)
    return FAILED if found["fault_count"] else OK


def _listed(peer: Peer, state: str, limit: int) -> Iterator[dict[str, Any]]:
    after = 0
    while limit > 0:
        some = min(limit, 100)
        found = decoded_objects(peer.exchange("GET", f"/v2/conflicts?state={state}&limit={some}&after={after}"))
        yield from found
        if len(found) < some:
            return
        after, limit = found[-1]["number"], limit - some


def _changed(arguments: argparse.Namespace, peer: Peer, path: str, body: Mapping[str, object]) -> int:
    answer = decoded(peer.exchange("POST", path, json.dumps(body).encode()))
    said = {"done": "done", "same": "nothing to change: it is so already"}
    write_lines([json.dumps(answer) if arguments.json else said.get(answer["outcome"], answer["outcome"])], sys.stdout)
    return OK


def _stored(peer: Peer, record_id: str) -> dict[str, Any] | None:
    answer = peer.exchange("GET", f"/record/{quote(record_id, safe='')}")
    found: dict[str, Any] | None = None if answer.status == 404 else decoded(answer)
    return found


def _differs(was: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> str:
    """The fields in which two states of a record differ, each with its two values."""
    if was is None or now is None:
        return "-"
    changed = [key for key in {**was, **now} if was.get(key) != now.get(key)]
    return "; ".join(f"{key}: {_short(was.get(key))} -> {_short(now.get(key))}" for key in changed) or "nothing"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _moment(value: str | None) -> str:
    return "-" if value is None else value[:19].replace("T", " ")
