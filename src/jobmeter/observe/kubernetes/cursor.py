"""What is remembered between two rounds: per namespace the version up to which the API server was heard, and pods.

Pods that run are kept so that one which is deleted, or gone at the next list, still becomes a record; pods that ended
are kept until all that belongs to them is known. Of those that were recorded and still stand in the API server only a
mark is kept. The cursor is a JSON text of some hundred bytes per running pod and eleven per ended one.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from jobmeter.observe.kubernetes.ending import Ending
from jobmeter.observe.kubernetes.marks import Marks
from jobmeter.observe.kubernetes.pod import Pod


class CursorUnreadable(ValueError):  # noqa: N818 - the name says the fact
    """The text is not a cursor of this source."""


class Held(Struct, omit_defaults=True):
    """A pod that ended, as was told at `seen`, and is not recorded before `due`.

    `fallback` is its end should neither containers nor conditions tell it; None where that is not known either.
    """

    pod: Pod
    seen: datetime
    due: datetime
    ending: Ending | None = None
    fallback: Ending | None = None
    tries: int = 0
    is_gone: bool = False


class Scope(Struct, omit_defaults=True):
    """One namespace. Pods that ended before `first` are never recorded; at `alive` the API server was last heard."""

    first: datetime
    selector: str
    version: str = ""
    alive: datetime | None = None
    listed: datetime | None = None
    running: dict[str, Pod] = {}
    held: dict[str, Held] = {}
    done: Marks = field(default_factory=Marks)


class State(Struct):
    """All namespaces."""

    scopes: dict[str, Scope]
    form: int = 1

    def text(self) -> str:
        """The state as a cursor."""
        return msgspec.json.encode(self, enc_hook=_packed).decode()


def state_of(text: str) -> State:
    """The state that a cursor keeps. Raises CursorUnreadable."""
    try:
        state = msgspec.json.decode(text, type=State, dec_hook=_unpacked)
    except (msgspec.MsgspecError, UnicodeError) as fault:
        raise CursorUnreadable(f"the cursor cannot be read: {fault}") from None
    if state.form != 1:
        raise CursorUnreadable("the cursor is of a later version")
    return state


def _packed(value: Any) -> bytes:
    if not isinstance(value, Marks):
        raise NotImplementedError
    return value.packed()


def _unpacked(kind: type, text: Any) -> Marks:
    if kind is not Marks:
        raise NotImplementedError
    if not isinstance(text, str):
        raise ValueError("the marks of recorded pods are no text")  # noqa: TRY004 - of these msgspec tells the place
    return Marks.unpacked(text)
