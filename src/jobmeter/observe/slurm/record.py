"""A job becomes a record, is left out, or is refused: the configuration's rules applied to the columns."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from jobmeter.contract import Refused
from jobmeter.model.record import Component, MetaMap, Record, Score, name_fault, record_fault
from jobmeter.observe.pattern import compiled
from jobmeter.observe.slurm import values
from jobmeter.observe.slurm.columns import SIZES
from jobmeter.observe.slurm.job import Job
from jobmeter.observe.slurm.settings import ComponentRule, KeyType, MetaRule, OnlyIf, Settings
from jobmeter.observe.slurm.states import ENDED_STATES
from jobmeter.observe.slurm.values import Unreadable

_MATCH_SECONDS = 1.0
_TOLD_MAX = 10_000

log = logging.getLogger("jobmeter.observe")


class LeftOut(Struct, frozen=True):
    """The configuration, or the job's never having run, leaves it out; `reason` is one of few."""

    reason: str


class _Unfit(Exception):  # noqa: N818
    """The job cannot become a record; the message says why."""


class Shaper:
    """Makes records by one configuration. Pure: the same job gives the same record."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._patterns = {condition: compiled(condition.matches) for condition in _conditions(settings)}
        self._told: dict[tuple[str, str], None] = {}

    def shape(self, job: Job) -> Record | LeftOut | Refused:
        """What becomes of a job that was read."""
        if job.state not in ENDED_STATES:
            return LeftOut("not ended")
        try:
            return self._shaped(job)
        except (_Unfit, Unreadable) as fault:
            return Refused(job.raw, str(fault))
        except TimeoutError:
            return Refused(job.raw, f"a regular expression took longer than {_MATCH_SECONDS:.0f} s")

    def _shaped(self, job: Job) -> Record | LeftOut:
        start, stop = job.moment("Start"), job.moment("End")
        if start is None or not job.has_started():
            return LeftOut("never started")
        if stop is None:
            return LeftOut("not ended")
        site = next((rule.name for rule in self._settings.sites if self._holds(rule.only_if, job)), None)
        if site is None:
            return LeftOut("no site matches")
        record = Record(
            record_id=self._id(job, start),
            components=tuple(
                self._component(rule, job) for rule in self._settings.components if self._holds(rule.only_if, job)
            ),
            start_time=start,
            meta=self._meta(job, site),
            stop_time=stop,
        )
        if (fault := record_fault(record)) is not None:
            raise _Unfit(": ".join(fault))
        return record

    def _id(self, job: Job, start: datetime) -> str:
        plain = f"{self._settings.record_prefix}-{job.row.job}"
        return f"{plain}-{int(start.timestamp())}" if job.earlier else plain

    def _holds(self, condition: OnlyIf | None, job: Job) -> bool:
        if condition is None:
            return True
        return self._patterns[condition].search(job.text(condition.key), timeout=_MATCH_SECONDS) is not None

    def _component(self, rule: ComponentRule, job: Job) -> Component:
        text = job.text(rule.key)
        amount = rule.default_value
        reason = f"the column {rule.key} is empty"
        if text:
            try:
                amount = self._amount(rule, text)
            except Unreadable as fault:
                reason = f"the column {rule.key}: {fault}"
        if amount is None:
            raise _Unfit(f"the component {rule.name} has no value: {reason}, and there is no default_value")
        if amount < 0:
            raise _Unfit(f"the component {rule.name} is negative: {amount}")
        scores = tuple(Score(score.name, score.value) for score in rule.scores if self._holds(score.only_if, job))
        return Component(rule.name, amount, scores)

    def _amount(self, rule: ComponentRule, text: str) -> int:
        if (amount := _number(rule.key, rule.key_type, text, self._settings.unit)) is None:
            raise _Unfit(f"the component {rule.name} is of type {rule.key_type.value}, which is no number")
        return amount

    def _meta(self, job: Job, site: str) -> MetaMap:
        meta: MetaMap = {}
        for rule in self._settings.meta or ():
            if self._holds(rule.only_if, job):
                meta.update(self._sound(self._entry(rule, job), job))
        meta["site_id"] = (site,)
        for key, column in (("user_id", "User"), ("group_id", "Group")):
            if not (name := job.text(column)):
                raise _Unfit(f"the column {column} is empty")
            meta[key] = (name,)
        meta["collector_type"] = ("slurm",)
        meta["time_unit"] = (self._settings.unit,)
        return meta

    def _entry(self, rule: MetaRule, job: Job) -> Mapping[str, str]:
        """What a rule puts into the meta: one value, or those of a JSON object."""
        text = job.text(rule.key)
        default = None if rule.default_value is None else str(rule.default_value)
        if rule.key_type is KeyType.JSON:
            return self._json_entry(text or default or "", job)
        reason = "is empty"
        if text:
            try:
                return {rule.name: self._printed(rule, text)}
            except Unreadable as fault:
                reason = str(fault)
        if default is not None:
            return {rule.name: default}
        if not text and rule.key_allow_empty:
            return {}
        raise _Unfit(f"the meta {rule.name} has no value: the column {rule.key}: {reason}")

    def _printed(self, rule: MetaRule, text: str) -> str:
        if rule.key_type is KeyType.STRING:
            return text
        if rule.key_type is KeyType.ID:
            return text.partition("(")[0]
        if rule.key_type is KeyType.DATE_TIME:
            return values.moment(text).strftime("%Y-%m-%d %H:%M:%S UTC")
        return str(_number(rule.key, rule.key_type, text, self._settings.unit))

    def _json_entry(self, text: str, job: Job) -> Mapping[str, str]:
        # A user writes this column. What is unreadable in it must not take the job out of the account.
        try:
            return values.json_texts(text)
        except Unreadable as fault:
            self._tell(job, str(fault))
            return {}

    def _sound(self, entry: Mapping[str, str], job: Job) -> MetaMap:
        """The values that may be stored; others are left out for the same reason as above."""
        sound: MetaMap = {}
        for key, value in entry.items():
            fault = name_fault(key) or name_fault(value)
            if fault is None:
                sound[key] = (value,)
            else:
                self._tell(job, f"{key[:64]!r} {fault}")
        return sound

    def _tell(self, job: Job, reason: str) -> None:
        """Log what is left out of a record, once though the job is read many times."""
        said = (job.row.values["jobidraw"], reason)
        if said not in self._told:
            if len(self._told) >= _TOLD_MAX:
                self._told.clear()
            self._told[said] = None
            log.warning("slurm.meta_left_out job=%s reason=%r", job.row.job, reason)


def _conditions(settings: Settings) -> set[OnlyIf]:
    rules: list[OnlyIf | None] = [site.only_if for site in settings.sites]
    rules.extend(rule.only_if for rule in settings.meta or ())
    for component in settings.components:
        rules.append(component.only_if)
        rules.extend(score.only_if for score in component.scores)
    return {rule for rule in rules if rule is not None}


def _number(column: str, kind: KeyType, text: str, unit: str) -> int | None:
    """The text as a number by its type, None for a type that is no number. Raises Unreadable."""
    if kind is KeyType.INTEGER_MEGA:
        return values.mebibytes(text)
    if kind is KeyType.TIME:
        spent = values.milliseconds(text)
        return spent if unit == "milliseconds" else spent // 1000
    if kind is KeyType.INTEGER:
        if column.lower() in SIZES and text[-1:] in "KMGTPEnc":
            return values.size_bytes(text.rstrip("nc"))
        return values.integer(text)
    return None
