"""Samples to Colmet's records, and back.

A record is made of the samples of one source, one job and one instant. Colmet tells jobs apart by a number alone: an id
of another form gets a number made of the whole identity, always the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import cast

import msgspec
from msgspec import Struct

from jobmeter.model.job import JobIdentity
from jobmeter.model.sample import JobEnd, Sample, SampleBatch
from jobmeter.wire.colmet import ColmetRecord, Value, types
from jobmeter.wire.colmet_columns import RECORDS, Column, Record, Rule
from jobmeter.wire.colmet_metrics import RECEIVED, divided, metric_of

SECOND_NS = 1_000_000_000

_BY_SOURCE = {record.source: record for record in RECORDS}
_BY_NAME = {record.name: record for record in RECORDS}
_NAMES = {name: tuple(metric.name for metric in metrics) for name, metrics in RECEIVED.items()}
_DIVIDED = {record.name: tuple(divided(column) for column in record.columns) for record in RECORDS}
_TYPES = {name: types(name)[: len(names)] for name, names in _NAMES.items()}
_PLAIN = {
    name: tuple((place, by) for place, by in enumerate(_DIVIDED[name][: len(_NAMES[name])]) if by != 1)
    for name in _NAMES
    if not any(column.rule in (Rule.SLOT, Rule.SLOT_STEP) for column in _BY_NAME[name].columns)
}
"""Of the records without numbered columns: the places of what has to be divided, and by what."""
_ZONE = re.compile(r"package-(\d+)(?:/(core|dram))?", re.ASCII)
_ZONES = {None: 0, "core": 1, "dram": 2}
_LAST_NUMBER = re.compile(r"(\d+)$", re.ASCII)
_PLANS_MAX = 1000
_LARGEST = 2**63 - 1
"""What a frame can hold as a whole number: nonsense beyond it keeps its size, not its last digits."""


def samples_of(records: Sequence[ColmetRecord], manager: str, cluster: str) -> SampleBatch:
    """The records of one message as samples: of jobs of that manager and cluster, job 0 being the node itself."""
    kinds = dict.fromkeys(record.kind for record in records)
    return SampleBatch(
        node=records[0].host if records else "",
        samples=tuple(_sample(record, manager, cluster) for record in records),
        metrics=tuple(metric for kind in kinds for metric in RECEIVED[kind]),
    )


def _sample(record: ColmetRecord, manager: str, cluster: str) -> Sample:
    names = _NAMES[record.kind]
    involved: tuple[JobIdentity, ...] = ()
    if len(record.values) > len(names):
        involved = tuple(JobIdentity(manager, cluster, str(number)) for number in _ids(str(record.values[-1])))
    return Sample(
        source=_BY_NAME[record.kind].source,
        node=record.host,
        job=JobIdentity(manager, cluster, str(record.job)) if record.job else None,
        time_ns=record.stamp_seconds * SECOND_NS,
        metrics=names,
        values=tuple(
            _read(value, form, factor)
            for value, form, factor in zip(record.values, _TYPES[record.kind], _DIVIDED[record.kind], strict=False)
        ),
        involved=involved,
    )


def _read(value: Value, form: str, factor: int) -> int | float | None:
    if value is None or isinstance(value, str) or (value == -1 and form == "q"):
        return None
    if factor == 1:
        return value
    made = value * factor
    return made if abs(made) <= _LARGEST else float(made)


def _ids(text: str) -> list[int]:
    """The job ids of a list; one that was cut off, as Colmet does without notice, gives those that are whole."""
    try:
        return msgspec.json.decode(text, type=list[int])
    except msgspec.MsgspecError:
        return [int(number) for number in re.findall(r"(?<=[\[ ])\d+(?=[,\]])", text)]


def job_number(job: JobIdentity | None) -> int:
    """The number that Colmet knows a job by; 0 is the node."""
    if job is None:
        return 0
    if job.job.isascii() and job.job.isdigit() and len(job.job) < 19:
        return int(job.job)
    from hashlib import blake2b  # noqa: PLC0415 - loads a library of 3 MB, and most jobs have numbers

    digest = blake2b(msgspec.json.encode(job), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def involved_text(jobs: Iterable[JobIdentity]) -> str:
    """The jobs on a node as Colmet writes them."""
    return json.dumps([job_number(job) for job in jobs])


class Made(Struct, frozen=True):
    """A record, and which samples of the batch it was made of."""

    record: ColmetRecord
    members: tuple[int, ...]


class Converted(Struct, frozen=True):
    """What a batch is to Colmet: records, and the places of the samples that it has no class for."""

    made: tuple[Made, ...]
    rest: tuple[int, ...]


class _Step(Struct, frozen=True):
    column: int
    place: int
    rule: Rule
    divide: int
    slot: int


class ColmetForm:
    """Makes records of batches. It remembers counters whose growth a record holds, until their job ends."""

    def __init__(self) -> None:
        self._plans: dict[tuple[str, tuple[str, ...]], tuple[_Step, ...]] = {}
        self._before: dict[JobIdentity | None, dict[tuple[str, str, str], int | float]] = {}

    def converted(self, batch: SampleBatch) -> Converted:
        """The records of a batch, in the order in which their samples stand in it."""
        groups: list[list[int]] = []
        present: dict[tuple[str, str, JobIdentity | None, int], list[int]] = {}
        rest: list[int] = []
        for place, sample in enumerate(batch.samples):
            if sample.source not in _BY_SOURCE:
                rest.append(place)
                continue
            key = (sample.source, sample.node, sample.job, sample.time_ns)
            group = present.get(key)
            # A node that reads more often than each second gives several records one stamp: they stay apart.
            if group is None or any(_is_repeat(batch.samples[other], sample) for other in group):
                group = present[key] = []
                groups.append(group)
            group.append(place)
        made = tuple(Made(self._record([batch.samples[place] for place in places]), tuple(places)) for places in groups)
        self.forget(batch.ends)
        return Converted(made, tuple(rest))

    def forget(self, ends: Iterable[JobEnd]) -> None:
        """Forget the counters of jobs that ended."""
        for end in ends:
            self._before.pop(end.job, None)

    def _record(self, samples: Sequence[Sample]) -> ColmetRecord:
        first = samples[0]
        record = _BY_SOURCE[first.source]
        values: list[Value]
        if first.metrics == _NAMES[record.name] and len(samples) == 1 and record.name in _PLAIN:
            values = _as_received(first.values, record)
        else:
            values = [None] * len(record.columns)
            for sample in samples:
                self._fill(values, sample, record)
        if record.columns[-1].rule is Rule.INVOLVED:
            values[-1] = involved_text(first.involved)
        return ColmetRecord(record.name, first.node, job_number(first.job), first.time_ns // SECOND_NS, tuple(values))

    def _fill(self, values: list[Value], sample: Sample, record: Record) -> None:
        slot = _slot(record.slots, sample.instance)
        for step in self._plan(sample, record):
            value = sample.values[step.place]
            if value is None or (step.slot >= 0 and slot is not None and slot != step.slot):
                continue
            if step.rule is Rule.SLOT_STEP:
                value = self._growth(sample, sample.metrics[step.place], value)
            if step.divide != 1:
                value = value // step.divide if isinstance(value, int) else value / step.divide
            present = cast("int | float | None", values[step.column])
            values[step.column] = value if step.rule is not Rule.SUM or present is None else present + value

    def _plan(self, sample: Sample, record: Record) -> tuple[_Step, ...]:
        key = (sample.source, sample.metrics)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= _PLANS_MAX:
                self._plans.clear()
            plan = self._plans[key] = tuple(_steps(record, sample.metrics))
        return plan

    def _growth(self, sample: Sample, metric: str, value: int | float) -> int | float:
        before = self._before.setdefault(sample.job, {})
        key = (sample.node, metric, sample.instance)
        last = before.get(key, value)
        before[key] = value
        return value - last if value >= last else value


def _as_received(given: Sequence[int | float | None], record: Record) -> list[Value]:
    """The columns of a sample that came from Colmet's node, where they stand in the same order."""
    values: list[Value] = [*given, *[None] * (len(record.columns) - len(given))]
    for place, divide in _PLAIN[record.name]:
        if (value := given[place]) is not None:
            values[place] = value // divide if isinstance(value, int) else value / divide
    return values


def _is_repeat(one: Sample, other: Sample) -> bool:
    return one.instance == other.instance and one.metrics == other.metrics


def _slot(slots: str, instance: str) -> int | None:
    """The place that an instance has among numbered columns; None: it says nothing of places."""
    if slots == "zone":
        match = _ZONE.fullmatch(instance)
        return -1 if match is None else int(match[1]) * 3 + _ZONES[match[2]]
    if slots == "index":
        match = _LAST_NUMBER.search(instance)
        return -1 if match is None else int(match[1])
    return None


def _steps(record: Record, metrics: tuple[str, ...]) -> Iterable[_Step]:
    """How the values of such a sample get into the columns: by name, by place, or as Colmet's node numbered them."""
    places = {name: place for place, name in reversed(list(enumerate(metrics)))}
    received = any(metric_of(record, column) in places for column in record.columns if _is_placed(column))
    for number, column in enumerate(record.columns):
        if column.rule is Rule.INVOLVED:
            continue
        if _is_placed(column):
            if received:
                if (place := places.get(metric_of(record, column))) is not None:
                    yield _Step(number, place, Rule.ONLY, 1, -1)
            elif record.slots == "event":
                if column.slot < len(metrics):
                    yield _Step(number, column.slot, column.rule, column.divide, -1)
            elif (place := places.get(column.metric)) is not None:
                yield _Step(number, place, column.rule, column.divide, column.slot)
        elif (place := places.get(column.metric)) is not None:
            yield _Step(number, place, column.rule, column.divide, -1)


def _is_placed(column: Column) -> bool:
    return column.rule in (Rule.SLOT, Rule.SLOT_STEP)
