"""The body of a frame: a batch of samples in which every name, job and list of metrics is written once.

Version 1. A map of arrays in MessagePack; samples name metrics, jobs and nodes by their index. Times count from the
first sample's. A catalogue entry says name, unit, kind and, now and then, help; each metric with a value has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import msgspec
from msgspec import Struct

from jobmeter.model.job import JobIdentity
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.sample import JobEnd, Sample, SampleBatch

SAMPLES_MAX = 65_536
"""A body with more samples is refused: a sender makes several frames of that many."""

TIME_NS_MAX = 2**63 - 1
"""Times are nanoseconds since 1970 that fit 64 bits with a sign, as stores keep them: until the year 2262."""

_SHAPES_KEPT = 64

T = TypeVar("T")


class BadBody(Exception):  # noqa: N818 - the name says the fact
    """The body is MessagePack of another shape; the message says where."""


class _Shape(Struct, array_like=True, gc=False):
    source: str
    metrics: tuple[int, ...]


class _Job(Struct, array_like=True, gc=False):
    manager: str
    cluster: str
    job: str
    run: int


class _Sample(Struct, array_like=True, gc=False):
    node: int
    shape: int
    job: int | None
    at_ns: int
    since_ns: int | None
    instance: str
    involved: int | None
    values: tuple[int | float | None, ...]


class _End(Struct, array_like=True, gc=False):
    node: int
    job: int
    at_ns: int


class _Entry(Struct, array_like=True, gc=False):
    name: str
    unit: str
    kind: str
    help: str = ""


class _Body(Struct):
    start_ns: int
    nodes: list[str]
    catalogue: list[_Entry]
    names: list[str]
    shapes: list[_Shape]
    jobs: list[_Job]
    lists: list[tuple[int, ...]]
    samples: list[_Sample]
    ends: list[_End]


class _Made(Struct):
    """As `_Body`, with what was encoded before."""

    start_ns: int
    nodes: list[str]
    catalogue: msgspec.Raw
    names: msgspec.Raw
    shapes: msgspec.Raw
    jobs: list[_Job]
    lists: list[tuple[int, ...]]
    samples: list[_Sample]
    ends: list[_End]


Shapes = tuple[tuple[str, tuple[str, ...]], ...]
"""Sources, each with a list of metrics that it has values for."""


class _Explained(NamedTuple):
    """What explains samples of certain shapes, encoded."""

    catalogue: msgspec.Raw
    names: msgspec.Raw
    shapes: msgspec.Raw


class CatalogueText:
    """Encodes what explains the samples of a sender: nearly always the same few times over.

    The entries of the metrics that there are values for; with their help come all others, too.
    """

    def __init__(self) -> None:
        self._metrics: tuple[Metric, ...] = ()
        self._made: dict[tuple[Shapes, bool], _Explained] = {}

    def of(self, metrics: tuple[Metric, ...], shapes: Shapes, *, with_help: bool) -> _Explained:
        """The encoded parts for these shapes."""
        if metrics is not self._metrics or len(self._made) >= _SHAPES_KEPT:
            self._metrics = metrics
            self._made.clear()
        found = self._made.get((shapes, with_help))
        if found is None:
            found = self._made[shapes, with_help] = _explained(metrics, shapes, with_help=with_help)
        return found


def _explained(metrics: Sequence[Metric], shapes: Shapes, *, with_help: bool) -> _Explained:
    names: _Numbered[str] = _Numbered()
    numbered = [_Shape(source, tuple(names.of(name) for name in own)) for source, own in shapes]
    entries = [
        _Entry(each.name, each.unit, each.kind.value, each.help if with_help else "")
        for each in metrics
        if with_help or each.name in names.numbers
    ]
    encode = msgspec.msgpack.encode
    return _Explained(*(msgspec.Raw(encode(part)) for part in (entries, list(names.numbers), numbered)))


class _Numbered(Generic[T]):
    """Values numbered in the order in which they are first seen."""

    def __init__(self) -> None:
        self.numbers: dict[T, int] = {}

    def of(self, value: T) -> int:
        return self.numbers.setdefault(value, len(self.numbers))


def pack(batch: SampleBatch, *, with_help: bool, catalogue: CatalogueText) -> bytes:
    """The body. Raises OverflowError for a number beyond 64 bits."""
    nodes: _Numbered[str] = _Numbered()
    shapes: _Numbered[tuple[str, tuple[str, ...]]] = _Numbered()
    jobs: _Numbered[JobIdentity] = _Numbered()
    lists: _Numbered[tuple[JobIdentity, ...]] = _Numbered()
    nodes.of(batch.node)
    start_ns = batch.samples[0].time_ns if batch.samples else (batch.ends[0].time_ns if batch.ends else 0)
    samples = [
        _Sample(
            nodes.of(sample.node),
            shapes.of((sample.source, sample.metrics)),
            None if sample.job is None else jobs.of(sample.job),
            sample.time_ns - start_ns,
            None if sample.since_ns is None else sample.since_ns - start_ns,
            sample.instance,
            lists.of(sample.involved) if sample.involved else None,
            sample.values,
        )
        for sample in batch.samples
    ]
    ends = [_End(nodes.of(end.node), jobs.of(end.job), end.time_ns - start_ns) for end in batch.ends]
    explained = catalogue.of(batch.metrics, tuple(shapes.numbers), with_help=with_help)
    body = _Made(
        start_ns=start_ns,
        nodes=[],
        catalogue=explained.catalogue,
        names=explained.names,
        shapes=explained.shapes,
        jobs=[],
        lists=[tuple(jobs.of(job) for job in involved) for involved in lists.numbers],
        samples=samples,
        ends=ends,
    )
    body.jobs = [_Job(job.manager, job.cluster, job.job, job.run) for job in jobs.numbers]
    body.nodes = list(nodes.numbers)
    return msgspec.msgpack.encode(body)


def unpack(raw: bytes, node: str) -> SampleBatch:
    """The batch. Raises BadBody, and msgspec.MsgspecError for what is no such MessagePack."""
    body = msgspec.msgpack.decode(raw, type=_Body)
    if len(body.samples) > SAMPLES_MAX:
        raise BadBody(f"it holds {len(body.samples)} samples, {SAMPLES_MAX} are allowed")
    jobs = [JobIdentity(job.manager, job.cluster, job.job, job.run) for job in body.jobs]
    shapes = [
        (shape.source, tuple(_at(body.names, index, "metric") for index in shape.metrics)) for shape in body.shapes
    ]
    lists = [tuple(_at(jobs, index, "job") for index in numbers) for numbers in body.lists]
    return SampleBatch(
        node=node,
        samples=tuple(_sample(each, body, shapes, jobs, lists) for each in body.samples),
        metrics=tuple(_metric(entry) for entry in body.catalogue),
        ends=tuple(
            JobEnd(_at(jobs, end.job, "job"), _at(body.nodes, end.node, "node"), _time(body.start_ns + end.at_ns))
            for end in body.ends
        ),
    )


def _sample(
    each: _Sample,
    body: _Body,
    shapes: Sequence[tuple[str, tuple[str, ...]]],
    jobs: Sequence[JobIdentity],
    lists: Sequence[tuple[JobIdentity, ...]],
) -> Sample:
    source, metrics = _at(shapes, each.shape, "shape")
    if len(metrics) != len(each.values):
        raise BadBody(f"a sample of {source} has {len(each.values)} values for {len(metrics)} metrics")
    return Sample(
        source,
        _at(body.nodes, each.node, "node"),
        None if each.job is None else _at(jobs, each.job, "job"),
        _time(body.start_ns + each.at_ns),
        metrics,
        each.values,
        each.instance,
        None if each.since_ns is None else _time(body.start_ns + each.since_ns),
        () if each.involved is None else _at(lists, each.involved, "list"),
    )


def _time(time_ns: int) -> int:
    if not 0 <= time_ns <= TIME_NS_MAX:
        raise BadBody(f"{time_ns} is no time in nanoseconds between 1970 and 2262")
    return time_ns


def _metric(entry: _Entry) -> Metric:
    try:
        return Metric(entry.name, entry.unit, Kind(entry.kind), entry.help)
    except ValueError:
        raise BadBody(f"metric {entry.name!r} has the unknown kind {entry.kind!r}") from None


def _at(items: Sequence[T], index: int, what: str) -> T:
    if not 0 <= index < len(items):
        raise BadBody(f"there is no {what} {index}")
    return items[index]
