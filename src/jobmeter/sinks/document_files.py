"""Appends facility documents to files of one folder, by kind: what `afmetrics_collector -d` does in place of sending.

Each document is written with four blanks of indentation and nothing between it and the next. The token stands in them,
so the files are readable by their owner only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from jobmeter.model.outcome import Accepted, Keep, Outcome
from jobmeter.wire.document import decode_document

_FILES = {
    "jupyter-ml": "jupyter-debug.json",
    "jupyter-coffea": "jupyter-debug.json",
    "ssh": "ssh.json",
    "CPU": "host.json",
    "MEM": "host.json",
    "NETWORK": "host.json",
    "DISK": "host.json",
    "condorqueue": "condor.json",
    "condorjob": "condor.json",
}
_OTHER = "other.json"


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the files are."""

    folder: Annotated[str, Meta(description="Their folder.")] = "."
    token: Annotated[str | None, Meta(description="The token of every document.", extra={"secret": True})] = None


class DocumentFiles:
    """A Sink; see `jobmeter.contract`. Items are encoded by `jobmeter.wire.document`."""

    batch_limit = 1000

    def __init__(self, settings: Settings) -> None:
        self._folder = Path(settings.folder)
        self._token = settings.token

    def send(self, items: Sequence[bytes]) -> Sequence[Outcome]:
        """Write each item; one that cannot be written keeps those after it."""
        outcomes: list[Outcome] = []
        for item in items:
            try:
                self._append(item)
            except OSError as fault:
                kept = Keep(reason=f"{fault.filename}: {fault.strerror}")
                return [*outcomes, *([kept] * (len(items) - len(outcomes)))]
            outcomes.append(Accepted())
        return outcomes

    def close(self) -> None:
        """Nothing is kept open."""

    def _append(self, item: bytes) -> None:
        document = json.loads(bytes(decode_document(item).document))
        text = json.dumps({"token": self._token, **document}, indent=4)
        file = self._folder / _FILES.get(document["kind"], _OTHER)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(text)


def open_sink(settings: Settings) -> DocumentFiles:
    """The files of a folder, which is not made."""
    return DocumentFiles(settings)
