"""What the actions of `jobmeter records` share in taking answers of the server and printing them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TextIO

from jobmeter.peer import Answer
from jobmeter.report.visible import visible
from jobmeter.wire.json_stream import BadStream

OK, FAILED, WRONG_USE = 0, 1, 2


class Refusal(Exception):  # noqa: N818
    """The server's answer to the request is no; `code` is the exit code."""

    def __init__(self, text: str, code: int = FAILED) -> None:
        super().__init__(text)
        self.code = code


def refusal(status: int, body: bytes) -> Refusal:
    """What an answer with this status means."""
    return Refusal(f"status {status}: {reason(body)}", WRONG_USE if status == 400 else FAILED)


def reason(body: bytes) -> str:
    """What the server says of why."""
    try:
        told = json.loads(body)
        text = told.get("error") or told.get("reason") if isinstance(told, dict) else None
    except ValueError:
        text = None
    return visible(str(text or body[:500].decode("utf-8", "replace").strip() or "no details"))


def decoded_objects(answer: Answer) -> list[dict[str, Any]]:
    """The objects of an answer that is a list. Raises Refusal and BadStream."""
    found = decoded(answer)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise BadStream("the answer is not a list of objects")
    return found


def decoded(answer: Answer) -> Any:
    """The value of an answer. Raises Refusal and BadStream."""
    if answer.status != 200:
        raise refusal(answer.status, answer.body)
    try:
        return json.loads(answer.body)
    except ValueError as fault:
        raise BadStream(f"the answer is not understood: {fault}") from None


def write_lines(lines: Iterable[str], output: TextIO) -> None:
    """One after the other."""
    for line in lines:
        output.write(f"{line}\n")
