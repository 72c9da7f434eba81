"""A file as an answer, in pieces, to a reader who may be slow."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from jobmeter.serve.answer import UNANSWERED, Header, Scope, Send
from jobmeter.serve.protocol import break_off

_PIECE_BYTES = 262_144


async def send_file(scope: Scope, send: Send, path: Path, headers: Sequence[Header], reader_seconds: float) -> int:
    """Send the file at `path`; `headers` say of what type it is.

    A reader who takes nothing for `reader_seconds` is left: UNANSWERED.
    Raises OSError before the first byte when the file cannot be read.
    """
    with await asyncio.to_thread(path.open, "rb") as file:
        size = path.stat().st_size
        lines = [(b"content-length", str(size).encode()), *headers]
        await send({"type": "http.response.start", "status": 200, "headers": lines})
        while piece := await asyncio.to_thread(file.read, _PIECE_BYTES):
            try:
                async with asyncio.timeout(reader_seconds):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            except TimeoutError:
                break_off(scope)
                return UNANSWERED
        await send({"type": "http.response.body", "body": b""})
    return 200
