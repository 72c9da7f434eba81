"""A job becomes a record, is left out, or is refused: the configuration's rules applied to its attributes."""

from __future__ import annotations

import logging
import math
import re
from datetime import datetime
from decimal import Decimal

from msgspec import Struct

from jobmeter.contract import Refused
from jobmeter.model.job import JobIdentity
from jobmeter.model.record import AMOUNT_MAX, Component, MetaMap, Record, name_fault, record_fault
from jobmeter.model.record import Score as ScoreValue
from jobmeter.observe.htcondor.job import Job, Unreadable, Value
from jobmeter.observe.htcondor.settings import SITE, ComponentRule, OnlyIf, Rule, Settings, compiled, rules_of

_MATCH_SECONDS = 1.0
_TOLD_MAX = 10_000
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_NUMBER_MAX_CHARACTERS = 400

log = logging.getLogger("jobmeter.observe")


class LeftOut(Struct, frozen=True):
    """The configuration, or the job's never having run, leaves it out; `reason` is one of few."""

    reason: str


class _Unfit(Exception):  # noqa: N818
    """The job cannot become a record; the message says why."""


class Shaper:
    """Makes records by one configuration. The same job gives the same record."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._statuses = frozenset(settings.job_status or ())
        conditions = {rule.only_if.matches for rule in rules_of(settings) if rule.only_if is not None}
        matches = {rule.matches for rule in rules_of(settings) if rule.matches is not None}
        self._patterns = {pattern: compiled(pattern) for pattern in conditions | matches}
        self._told: dict[tuple[str, str], None] = {}

    def shape(self, job: Job, first: datetime) -> Record | LeftOut | Refused:
        """What becomes of a job; one that ended before `first` is left out."""
        if self._statuses and job.status not in self._statuses:
            return LeftOut("status not wanted")
        try:
            return self._shaped(job, first)
        except (_Unfit, Unreadable) as fault:
            return Refused(job.raw, str(fault))
        except TimeoutError:
            return Refused(job.raw, f"a regular expression took longer than {_MATCH_SECONDS:.0f} s")

    def _shaped(self, job: Job, first: datetime) -> Record | LeftOut:
        if (global_id := job.global_id) is None:
            raise _Unfit(f"the attribute GlobalJobId is missing or none: {str(job.get('GlobalJobId'))[:80]!r}")
        ended = job.ended()
        if ended is not None and ended < first:
            return LeftOut("ended before the beginning")
        if (start := job.start()) is None:
            return LeftOut("never ran on a slot")
        if (stop := job.stop(start)) is None:
            raise _Unfit("the attributes CompletionDate, EpochWriteDate and EnteredCurrentStatus have no moment")
        components = (self._component(rule, job) for rule in self._settings.components)
        record = Record(
            record_id=f"{self._settings.record_prefix}-{global_id}",
            components=tuple(component for component in components if component is not None),
            start_time=start,
            meta=self._meta(job),
            stop_time=stop,
            # Its nodes know the schedd and the number from the job's ad.
            job_identity=JobIdentity("htcondor", global_id.partition("#")[0], job.number),
        )
        if (fault := record_fault(record)) is not None:
            raise _Unfit(": ".join(fault))
        return record

    def _component(self, rule: ComponentRule, job: Job) -> Component | None:
        """The component; None where the job has none by `only_if`."""
        if not self._holds(rule.only_if, job):
            return None
        found = self._found(rule, job)
        if found is None:
            found = rule.default_value
        if found is None:
            raise _Unfit(f"the component {rule.name} has no value, and no default_value")
        amount = _amount(found)
        if amount is None:
            raise _Unfit(f"the component {rule.name} has no amount: {str(found)[:80]!r}")
        scores = []
        for score in rule.scores:
            value = self._value(score, job)
            if value is None:
                continue
            number = _score(value)
            if number is None:
                raise _Unfit(f"the score {score.name} is no number that can be stored: {str(value)[:80]!r}")
            scores.append(ScoreValue(score.name, number))
        return Component(rule.name, amount, tuple(scores))

    def _meta(self, job: Job) -> MetaMap:
        meta: MetaMap = {}
        for key, entries in self._settings.meta.items():
            found = [text for entry in entries if (text := self._text(key, entry, job)) is not None]
            if found:
                meta[key] = tuple(found[:1] if key == SITE else found)
            elif key == SITE:
                self._tell(job, "no entry of meta.site matches")
        meta["collector_type"] = ("htcondor",)
        return meta

    def _text(self, key: str, rule: Rule, job: Job) -> str | None:
        """The value as text. What cannot be stored is left out: users write attributes, and the job must count."""
        value = self._value(rule, job)
        if value is None:
            return None
        text = str(value)
        if (fault := name_fault(text)) is not None:
            self._tell(job, f"{key} {fault}")
            return None
        return text

    def _value(self, rule: Rule, job: Job) -> Value | None:
        return self._found(rule, job) if self._holds(rule.only_if, job) else None

    def _found(self, rule: Rule, job: Job) -> Value | None:
        """The value by `key`, `factor` or `name`, and by `matches`."""
        value: Value | None
        if rule.key is not None:
            value = job.get(rule.key)
        elif rule.factor is not None:
            value = rule.factor
        else:
            value = rule.name
        if value is None or rule.matches is None:
            return value
        match = self._patterns[rule.matches].search(_written(value), timeout=_MATCH_SECONDS)
        if match is None:
            return None
        if self._patterns[rule.matches].groups:
            group: str | None = match[1]
            return group
        return rule.name

    def _holds(self, condition: OnlyIf | None, job: Job) -> bool:
        if condition is None:
            return True
        value = job.get(condition.key)
        if value is None:
            return False
        return self._patterns[condition.matches].search(_written(value), timeout=_MATCH_SECONDS) is not None

    def _tell(self, job: Job, reason: str) -> None:
        """Log what is left out of a record, once though the job may be read again."""
        said = (job.global_id or "", reason)
        if said not in self._told:
            if len(self._told) >= _TOLD_MAX:
                self._told.clear()
            self._told[said] = None
            log.warning("htcondor.meta_left_out job=%s reason=%r", *said)


def _written(value: Value) -> str:
    """A value as a ClassAd writes it, for patterns."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _amount(value: Value) -> int | None:
    """The whole part of a number, None where it cannot be stored."""
    if isinstance(value, str):
        if len(value) > _NUMBER_MAX_CHARACTERS or _NUMBER.fullmatch(value.strip()) is None:
            return None
        value = int(Decimal(value.strip()))
    elif isinstance(value, float):
        if not math.isfinite(value):
            return None
        value = math.trunc(value)
    return int(value) if 0 <= value <= AMOUNT_MAX else None


def _score(value: Value) -> float | None:
    """A number that is finite and not negative, None for anything else."""
    if isinstance(value, str) and (len(value) > _NUMBER_MAX_CHARACTERS or _NUMBER.fullmatch(value.strip()) is None):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
