"""A pod that ended becomes a record. Pure: the same pod, end and usage give the same record."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import timedelta
from fractions import Fraction

import msgspec

from jobmeter.contract import Refused
from jobmeter.model.job import JobIdentity
from jobmeter.model.record import NAME_MAX_GRAPHEMES, Component, MetaMap, Record, name_fault, record_fault
from jobmeter.observe.kubernetes.ending import Ending
from jobmeter.observe.kubernetes.pod import Container, Pod
from jobmeter.observe.kubernetes.quantity import amount, quantity, whole
from jobmeter.observe.kubernetes.settings import Settings
from jobmeter.observe.shape.values import Unreadable

DELETED = "Deleted"
"""The reason of a pod that was deleted while it ran."""

_SECOND = timedelta(seconds=1)

log = logging.getLogger("jobmeter.observe")


class Shaper:
    """Makes records by one configuration."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def shape(self, pod: Pod, ending: Ending, usage: Mapping[str, int]) -> Record | Refused:
        """The record of a pod, with what it used where that is known."""
        start = pod.start or min((each.began for each in pod.containers if each.began is not None), default=None)
        if start is None:
            return refused(pod, "it ended and has no start time")
        try:
            amounts = {**self._amounts(pod, ending), **usage}
        except Unreadable as fault:
            return refused(pod, str(fault))
        record = Record(
            record_id=self._id(pod),
            components=tuple(Component(name, number, ()) for name, number in amounts.items()),
            start_time=start,
            meta=self._meta(pod, ending),
            stop_time=ending.stop,
            job_identity=JobIdentity("kubernetes", self._settings.cluster or "", pod.uid),
        )
        if (fault_found := record_fault(record)) is not None:
            return refused(pod, ": ".join(fault_found))
        return record

    def _id(self, pod: Pod) -> str:
        prefix = self._settings.record_prefix
        whole_id = f"{prefix}-{pod.namespace}-{pod.name}-{pod.uid}"
        return whole_id if len(whole_id) <= NAME_MAX_GRAPHEMES else f"{prefix}-{pod.namespace}-{pod.uid}"

    def _amounts(self, pod: Pod, ending: Ending) -> dict[str, int]:
        found: dict[str, int] = {}
        if (spent := _naive_cpu_seconds(pod, ending)) is not None:
            found["naive_cpu_time"] = spent
        for resource in self._settings.resources:
            for kind, value in (("request", _requested(pod, resource)), ("limit", _limited(pod, resource))):
                if value is not None:
                    found[f"{resource}_{kind}"] = amount(resource, value)
        return found

    def _meta(self, pod: Pod, ending: Ending) -> MetaMap:
        reason = pod.reason or _container_reason(pod)
        if not pod.has_ended:
            reason = DELETED
        given = {
            "podname": pod.name,
            "namespace": pod.namespace,
            "status": pod.phase,
            "reason": reason,
            "node": pod.node,
            "owner_kind": pod.owner_kind,
            "owner_name": pod.owner_name,
            "cluster": self._settings.cluster or "",
            "stop_time_from": "" if ending.source == "containers" else ending.source,
            "collector_type": "kubernetes",
        }
        meta: MetaMap = {}
        for rule in self._settings.meta:
            value = rule.value or (
                pod.labels.get(rule.label) if rule.label is not None else pod.annotations.get(rule.annotation or "")
            )
            meta.update(self._sound(pod, rule.name, value or rule.default_value))
        # What the API server itself says comes last: no label of a user's can forge it.
        meta.update({key: (value,) for key, value in given.items() if value})
        return meta

    def _sound(self, pod: Pod, key: str, value: str | None) -> MetaMap:
        # A user writes annotations. What cannot be stored of them must not take the pod out of the account.
        if value is None:
            return {}
        if (fault := name_fault(value)) is not None:
            log.warning("kubernetes.meta_left_out pod=%s/%s meta=%r reason=%r", pod.namespace, pod.name, key, fault)
            return {}
        return {key: (value,)}


def refused(pod: Pod, reason: str) -> Refused:
    """The entry of a pod that cannot become a record."""
    return Refused(msgspec.json.encode(pod).decode(), f"pod {pod.namespace}/{pod.name}: {reason}")


def _container_reason(pod: Pod) -> str:
    """Why the containers ended: the reason of the first that did not simply complete, else Completed."""
    reasons = [each.reason for each in (*pod.containers, *pod.init) if each.reason]
    return next((reason for reason in reasons if reason != "Completed"), reasons[0] if reasons else "")


def _naive_cpu_seconds(pod: Pod, ending: Ending) -> int | None:
    """Core seconds that the containers could have used: whole seconds of each times its CPU limit.

    AUDITOR's quantity. Only the last run of a container that was started again is known. None where a container that
    ran has no limit or no known times.
    """
    total = Fraction(0)
    ran = [container for container in pod.containers if container.has_run]
    for container in ran:
        limit = container.limits.get("cpu")
        end = container.ended if container.state == "terminated" else ending.stop
        if limit is None or container.began is None or end is None:
            return None
        total += max(0, (end - container.began) // _SECOND) * quantity(limit)
    return whole(Fraction(total.numerator // total.denominator)) if ran else None


def _requested(pod: Pod, resource: str) -> Fraction | None:
    """What was set aside for the pod: the containers together, or the largest init container, and the overhead."""
    if resource in pod.requests:
        return quantity(pod.requests[resource]) + _one(pod.overhead, resource)
    every = (*pod.containers, *pod.init)
    if not any(resource in container.requests for container in every):
        return None
    beside = sum((_one(each.requests, resource) for each in pod.init if each.beside), Fraction(0))
    together = sum((_one(each.requests, resource) for each in pod.containers), beside)
    alone = max((_one(each.requests, resource) for each in pod.init if not each.beside), default=Fraction(0))
    return max(together, alone) + _one(pod.overhead, resource)


def _limited(pod: Pod, resource: str) -> Fraction | None:
    """How much the containers may use together, or None where one of them has no bound."""
    if resource in pod.limits:
        return quantity(pod.limits[resource])
    running: Iterable[Container] = [*pod.containers, *(each for each in pod.init if each.beside)]
    if not pod.containers or not all(resource in container.limits for container in running):
        return None
    return sum((quantity(container.limits[resource]) for container in running), Fraction(0))


def _one(quantities: Mapping[str, str], resource: str) -> Fraction:
    text = quantities.get(resource)
    return Fraction(0) if text is None else quantity(text)
