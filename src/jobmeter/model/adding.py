"""Summaries of parts of one job become one.

Parts are of other times (a job that was silent for long and was heard of again, or that ran again under a record that
spans both runs) or of other nodes (which sent to another gatherer). Two that tell of the same time on the same node are
no parts: of these one counts, the one that tells more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from jobmeter.model.metric import Kind
from jobmeter.model.summary import EnergySource, JobSummary, MetricSummary

_OVERLAP_PARTS = 10
"""Of the shorter of two parts a tenth may be told twice: what a node had sent to one gatherer, and then to another."""

V = TypeVar("V", int, float)


def rank(summary: JobSummary) -> tuple[bool, float, int, int, bytes]:
    """Of two summaries of the same the one that tells more has the higher rank; equal only where they are equal."""
    content = msgspec.json.encode(summary)
    return summary.ended, summary.covered_seconds, summary.samples, summary.last_ns, content


def is_apart(one: JobSummary, other: JobSummary) -> bool:
    """Whether they are of different nodes or times."""
    if one.nodes and other.nodes and not set(one.nodes) & set(other.nodes):
        return True
    overlap_ns = min(one.last_ns, other.last_ns) - max(one.first_ns, other.first_ns)
    shorter_ns = min(one.last_ns - one.first_ns, other.last_ns - other.first_ns)
    return overlap_ns < 0 or overlap_ns * _OVERLAP_PARTS < shorter_ns


def parts_of(summaries: Iterable[JobSummary]) -> list[JobSummary]:
    """Those that tell of different times or nodes, best first; what a better one tells is left out."""
    parts: list[JobSummary] = []
    for one in sorted(summaries, key=rank, reverse=True):
        if all(is_apart(one, other) for other in parts):
            parts.append(one)
    return parts


def added(parts: Sequence[JobSummary]) -> JobSummary:
    """One summary of all parts. Percentiles of parts and mean rates cannot be added: they are absent."""
    if len(parts) == 1:
        return parts[0]
    ordered = sorted(parts, key=lambda one: (one.first_ns, one.last_ns, rank(one)))
    told = {node for one in ordered if one.ended for node in one.nodes}
    told |= {node for one in ordered if one.silent for node in one.nodes if node not in one.silent}
    nodes = tuple(sorted({node for one in ordered for node in one.nodes}))
    silent = tuple(node for node in nodes if node not in told)
    sources = {one.energy for one in ordered if one.joules is not None}
    return JobSummary(
        max(ordered, key=lambda one: (one.last_ns, rank(one))).job,
        nodes,
        ordered[0].first_ns,
        max(one.last_ns for one in ordered),
        sum(one.samples for one in ordered),
        sum(one.node_seconds for one in ordered),
        sum(one.covered_seconds for one in ordered),
        ended=not silent,
        metrics=tuple(_metrics(ordered)),
        joules=_sum(one.joules for one in ordered),
        energy=(sources.pop() if len(sources) == 1 else EnergySource.ESTIMATED) if sources else EnergySource.NONE,
        silent=silent,
        earlier=min(one.earlier for one in ordered),
    )


def _metrics(ordered: Sequence[JobSummary]) -> Iterable[MetricSummary]:
    chains = _chains(ordered)
    for name in sorted({metric.name for one in ordered for metric in one.metrics}):
        found = [[(one, metric) for one in chain if (metric := one.metric(name)) is not None] for chain in chains]
        yield _added(name, [chain for chain in found if chain])


def _chains(ordered: Sequence[JobSummary]) -> list[list[JobSummary]]:
    """Parts that have nodes in common, one after the other; those of different chains have none."""
    chains: list[list[JobSummary]] = []
    for one in ordered:
        nodes = set(one.nodes)
        same = [chain for chain in chains if any(nodes & set(other.nodes) for other in chain)]
        chains = [chain for chain in chains if chain not in same]
        chains.append([*(other for chain in same for other in chain), one])
    return [sorted(chain, key=lambda one: (one.first_ns, one.last_ns, rank(one))) for chain in chains]


def _added(name: str, chains: Sequence[Sequence[tuple[JobSummary, MetricSummary]]]) -> MetricSummary:
    metrics = [metric for chain in chains for _, metric in chain]
    begun = [metric.since_ns for metric in metrics]
    return MetricSummary(
        name,
        metrics[0].unit,
        metrics[0].kind,
        sum(metric.samples for metric in metrics),
        sum(metric.missing for metric in metrics),
        min=min((metric.min for metric in metrics if metric.min is not None), default=None),
        mean=_mean(metrics),
        max=max((metric.max for metric in metrics if metric.max is not None), default=None),
        total=_sum(_total(chain) for chain in chains),
        resets=sum(metric.resets for metric in metrics),
        peak=_sum(max((m.peak for _, m in chain if m.peak is not None), default=None) for chain in chains),
        since_ns=None if None in begun else min(since for since in begun if since is not None),
    )


def _total(chain: Sequence[tuple[JobSummary, MetricSummary]]) -> float | None:
    """A counter's growth over parts that follow one another; it may have begun in an earlier part than this."""
    terms: list[tuple[int, float]] = []
    for part, metric in chain:
        if metric.total is None:
            continue
        before = 0.0
        while metric.since_ns is not None and terms and metric.since_ns <= terms[-1][0]:
            before += terms.pop()[1]
        terms.append((part.last_ns, max(before, metric.total)))
    return sum(total for _, total in terms) if terms else None


def _mean(metrics: Sequence[MetricSummary]) -> float | None:
    known = [(metric.mean, metric.samples) for metric in metrics if metric.mean is not None and metric.samples]
    if not known or metrics[0].kind is Kind.COUNTER:
        return None
    return sum(mean * samples for mean, samples in known) / sum(samples for _, samples in known)


def _sum(values: Iterable[V | None]) -> V | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
