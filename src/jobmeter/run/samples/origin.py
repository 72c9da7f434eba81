"""Where `jobmeter samples` reads: a folder, a server, or Colmet's HDF5 files."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

from jobmeter.keeping import SampleFeed
from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.series import SampleColumn, SampleQuestion, SampleTable, Series, answers
from jobmeter.peer import Endpoint, Peer, Reply
from jobmeter.wire.sample_text import BadTables, decode_tables, sample_line

FOLLOW_SECONDS = 0.25
ANSWER_MAX_BYTES = 2**30
_STAMPED = re.compile(r"\.(\d{10})\.hdf5$")
_ABOUT = frozenset({"timestamp", "hostname", "job_id", "metric_backend", "involved_jobs"})


class OriginFaulty(Exception):  # noqa: N818 - the name says the fact
    """What was named cannot be read; the message says why."""


class OriginMissing(OriginFaulty):
    """There is no such file."""


class Origin(Protocol):
    """Something that has samples."""

    def tables(self, question: SampleQuestion) -> Iterator[SampleTable]:
        """The samples. Raises OriginFaulty, OSError, and what stores and peers raise."""
        ...

    def follow(self, question: SampleQuestion) -> Iterator[bytes]:
        """Samples as they come, as JSON, without end."""
        ...

    def close(self) -> None:
        """Release connections and files."""
        ...


class Folder:
    """A sample store on this machine."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise OriginFaulty(f"there is no folder {folder}")
        try:
            from jobmeter.store.samples.reader import SampleStoreReader  # noqa: PLC0415 - numpy, an extra
        except ImportError:
            raise OriginFaulty("reading a sample store needs numpy: pip install 'jobmeter[samples]'") from None
        self._folder = folder
        self._reader = SampleStoreReader(folder)

    def tables(self, question: SampleQuestion) -> Iterator[SampleTable]:
        """See Origin."""
        return self._reader.tables(question)

    def follow(self, question: SampleQuestion) -> Iterator[bytes]:
        """See Origin."""
        from jobmeter.store.samples.tail import SampleTail  # noqa: PLC0415

        feed: SampleFeed = SampleTail(self._folder)
        while True:
            for sample in feed.read():
                if answers(sample, question):
                    yield sample_line(sample, feed.metrics)
            time.sleep(FOLLOW_SECONDS)

    def close(self) -> None:
        """See Origin."""
        self._reader.close()


class Server:
    """A jobmeter server."""

    def __init__(self, endpoint: Endpoint, shown: Callable[[], Mapping[str, str]] | None) -> None:
        if (fault := endpoint.fault()) is not None:
            raise OriginFaulty(fault)
        self._peer = Peer(endpoint, headers=shown)

    def tables(self, question: SampleQuestion) -> Iterator[SampleTable]:
        """See Origin."""
        with self._peer.open("GET", f"/v2/samples?{query_of(question)}", accept="application/json") as reply:
            body = self._body(reply)
        try:
            yield from decode_tables(body)
        except BadTables as fault:
            raise OriginFaulty(f"{self._peer.address}: {fault}") from None

    def follow(self, question: SampleQuestion) -> Iterator[bytes]:
        """See Origin."""
        with self._peer.open("GET", f"/v2/samples/tail?{query_of(question)}") as reply:
            if reply.status != 200:
                raise OriginFaulty(f"{self._peer.address} answered {reply.status}")
            rest = b""
            for piece in reply.pieces():
                *lines, rest = (rest + piece).split(b"\n")
                yield from (line[6:] for line in lines if line.startswith(b"data: "))

    def close(self) -> None:
        """See Origin."""
        self._peer.close()

    def _body(self, reply: Reply) -> bytes:
        body = bytearray()
        for piece in reply.pieces():
            body += piece
            if len(body) > ANSWER_MAX_BYTES:
                raise OriginFaulty("the answer is larger than 1 GiB: ask for a step, a node or fewer metrics")
        if reply.status != 200:
            told = bytes(body[:500]).decode("utf-8", "replace")
            raise OriginFaulty(f"{self._peer.address} answered {reply.status}: {told}")
        return bytes(body)


def query_of(question: SampleQuestion) -> str:
    """The query string of the server's interface."""
    pairs: list[tuple[str, str]] = [
        (name, str(value))
        for name in ("manager", "cluster", "job", "run", "node", "source")
        if (value := getattr(question, name)) is not None
    ]
    if question.metrics:
        pairs.append(("metric", ",".join(question.metrics)))
    for name, time_ns in (("from", question.from_ns), ("to", question.to_ns)):
        if time_ns is not None:
            pairs.append((name, f"{time_ns // 10**9}.{time_ns % 10**9:09d}"))
    if question.step_ns:
        pairs.append(("step", f"{question.step_ns / 1e9:.9f}s"))
    pairs += [(name, "true") for name in ("involving", "node_only") if getattr(question, name)]
    return urlencode(pairs)


class ColmetFiles:
    """Files that Colmet's collector wrote, or our gatherer in the same layout. They are opened for reading only.

    `name` is a file, or the first part of the names of several, as OAR's configuration has it: `NAME.<seconds>.hdf5`.
    Such a file holds what came from the time in its name until that of the next.
    """

    def __init__(self, name: str) -> None:
        try:
            import h5py  # noqa: PLC0415 - an extra
        except ImportError:
            raise OriginFaulty("reading HDF5 needs h5py: pip install 'jobmeter[hdf5]'") from None
        self._open: Any = h5py.File
        self._name = name

    def tables(self, question: SampleQuestion) -> Iterator[SampleTable]:
        """See Origin."""
        for path in self._files(question):
            try:
                with self._open(path, "r", locking=False) as file:
                    group = file.get(f"job_{question.job or 0}")
                    for name in [] if group is None else sorted(group):
                        yield from _colmet_tables(name, group[name][()], question)
            except (OSError, KeyError, ValueError) as fault:
                raise OriginFaulty(f"{path}: {fault}") from None

    def follow(self, question: SampleQuestion) -> Iterator[bytes]:
        """Nothing comes into a file that somebody hands over."""
        del question
        raise OriginFaulty("HDF5 files cannot be followed; follow the store or the server")

    def close(self) -> None:
        """See Origin."""

    def _files(self, question: SampleQuestion) -> list[Path]:
        path = Path(self._name)
        if path.is_file():
            return [path]
        stamped = sorted(
            (int(match[1]), found)
            for found in path.parent.glob("*.hdf5")
            if (match := _STAMPED.search(found.name)) and found.name[: match.start()] == path.name
        )
        chosen = []
        for place, (begin, found) in enumerate(stamped):
            end = stamped[place + 1][0] if place + 1 < len(stamped) else None
            late = question.to_ns is not None and begin * 10**9 >= question.to_ns
            early = end is not None and question.from_ns is not None and end * 10**9 <= question.from_ns
            if not late and not early:
                chosen.append(found)
        if not chosen:
            raise OriginMissing(f"there is no file {self._name}, and none {self._name}.SECONDS.hdf5 of that time")
        return chosen


def _colmet_tables(name: str, table: Any, question: SampleQuestion) -> Iterator[SampleTable]:
    """The rows of one record class, host by host; -1 is what Colmet writes where there was no value."""
    names = table.dtype.names or ()
    if "timestamp" not in names or "hostname" not in names:
        return
    metrics = [one for one in names if one not in _ABOUT and (not question.metrics or one in question.metrics)]
    source = name.removesuffix("_default")
    if not metrics or question.source not in (None, source):
        return
    job = JobIdentity("oar", "", question.job) if question.job not in (None, "0") else None
    for host in sorted(set(table["hostname"].tolist())):
        node = host.split(b"\0")[0].decode("utf-8", "replace")
        if question.node not in (None, node):
            continue
        own = table[table["hostname"] == host]
        own = own[own["timestamp"].argsort(kind="stable")]
        times = [int(stamp) * 10**9 for stamp in own["timestamp"].tolist()]
        keep = [
            place
            for place, stamp in enumerate(times)
            if (question.from_ns is None or stamp >= question.from_ns)
            and (question.to_ns is None or stamp < question.to_ns)
        ]
        if keep:
            columns = tuple(
                SampleColumn(
                    Metric(one, "as Colmet has it", Kind.GAUGE, ""),
                    "value",
                    [None if value == -1 else value for value in own[one][keep].tolist()],
                )
                for one in metrics
            )
            yield SampleTable(Series(node, source, job, "", tuple(metrics)), [times[at] for at in keep], columns)
