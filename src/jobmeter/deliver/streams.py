"""Which frames of which sender came already: so that one that is sent again is not stored again, and gaps are seen."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

import msgspec
from msgspec import Struct

_STREAMS_MAX = 50_000
_MISSING_MAX = 1000


class _Stream(Struct, array_like=True):
    highest: int
    missing: set[int]
    lost: int = 0
    dropped: int = 0


class Streams:
    """The streams of all senders, those that were heard of last. A stream is one run of one sender.

    One thread notes; others may ask and save meanwhile, each of which sees one state.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._streams: OrderedDict[tuple[str, int], _Stream] = OrderedDict()
        if file is not None and file.exists():
            self._load(file)

    def is_known(self, node: str, stream: int, sequence: int) -> bool:
        """Whether this frame came before."""
        with self._lock:
            known = self._streams.get((node, stream))
            return known is not None and sequence <= known.highest and sequence not in known.missing

    def note(self, node: str, stream: int, sequence: int, dropped: int) -> None:
        """This frame is stored. `dropped` are the samples that its sender had to give up so far."""
        with self._lock:
            self._note((node, stream), sequence, dropped)

    def _note(self, key: tuple[str, int], sequence: int, dropped: int) -> None:
        known = self._streams.get(key)
        if known is None:
            # Frames before the first that is heard went to another gatherer, or to this one long ago.
            known = self._streams[key] = _Stream(sequence, set())
            if len(self._streams) > _STREAMS_MAX:
                self._streams.popitem(last=False)
        self._streams.move_to_end(key)
        if sequence > known.highest:
            gap = range(known.highest + 1, sequence)
            known.lost += max(0, len(gap) - _MISSING_MAX)
            known.missing.update(gap[-_MISSING_MAX:])
            while len(known.missing) > _MISSING_MAX:
                known.missing.remove(min(known.missing))
                known.lost += 1
            known.highest = sequence
        else:
            known.missing.discard(sequence)
        known.dropped = max(known.dropped, dropped)

    def missing_frames(self) -> int:
        """How many frames never came, of those streams of which later ones did."""
        with self._lock:
            return sum(len(stream.missing) + stream.lost for stream in self._streams.values())

    def dropped_samples(self) -> int:
        """How many samples the senders say that they had to give up."""
        with self._lock:
            return sum(stream.dropped for stream in self._streams.values())

    def nodes(self) -> int:
        """How many nodes were heard of."""
        with self._lock:
            return len({node for node, _ in self._streams})

    def save(self) -> None:
        """Write all down, whole or not at all. Raises OSError."""
        if self._file is None:
            return
        with self._lock:
            content = msgspec.msgpack.encode([(*key, stream) for key, stream in self._streams.items()])
        fresh = self._file.with_name(self._file.name + ".fresh")
        fresh.write_bytes(content)
        fresh.replace(self._file)

    def _load(self, file: Path) -> None:
        try:
            rows = msgspec.msgpack.decode(file.read_bytes(), type=list[tuple[str, int, _Stream]])
        except msgspec.MsgspecError:
            return  # what it said is found again in the log, as far as that goes back
        for node, stream, known in rows:
            self._streams[node, stream] = known
