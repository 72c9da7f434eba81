"""An entry becomes a record: the rules of the configuration applied to its columns."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from jobmeter.contract import Refused
from jobmeter.model.job import JobIdentity
from jobmeter.model.record import Component, MetaMap, Record, Score, name_fault, record_fault
from jobmeter.observe.pattern import compiled
from jobmeter.observe.shape.rules import ComponentRule, KeyType, MetaRule, OnlyIf, Rules
from jobmeter.observe.shape.values import Unreadable, json_texts

_MATCH_SECONDS = 1.0
_TOLD_MAX = 10_000

log = logging.getLogger("jobmeter.observe")


class Entry(Protocol):
    """A job as its source gave it."""

    @property
    def name(self) -> str:
        """The job's id as people know it."""
        ...

    @property
    def raw(self) -> str:
        """The entry as the source gave it."""
        ...

    def text(self, column: str) -> str:
        """The text of a column, "" when it is empty."""
        ...


class Reading(Protocol):
    """How the texts of a source are read. Both raise Unreadable."""

    def number(self, column: str, kind: KeyType, text: str) -> int | None:
        """The text as a number by its type, None for a type that is no number."""
        ...

    def moment(self, text: str) -> datetime:
        """The text as a moment."""
        ...


class LeftOut(Struct, frozen=True):
    """The configuration, or the job's never having run, leaves it out; `reason` is one of few."""

    reason: str


class Unfit(Exception):  # noqa: N818 - the name says the fact
    """The job cannot become a record; the message says why."""


class Frame(Struct, frozen=True):
    """What the rules do not decide. `fixed` is meta that no rule may replace; `job` is the job as its nodes know it."""

    record_id: str
    start: datetime
    stop: datetime
    fixed: MetaMap
    job: JobIdentity


class Shaper:
    """Makes records by one set of rules. Pure: the same entry gives the same record. `source` is for the log."""

    def __init__(self, rules: Rules, reading: Reading, source: str) -> None:
        self._rules = rules
        self._reading = reading
        self._source = source
        self._patterns = {condition: compiled(condition.matches) for condition in set(rules.conditions())}
        self._told: dict[tuple[str, str], None] = {}

    def outcome(self, entry: Entry, make: Callable[[], Record | LeftOut]) -> Record | LeftOut | Refused:
        """What `make` gives, or the entry refused where it raises Unfit, Unreadable or a pattern takes too long."""
        try:
            return make()
        except (Unfit, Unreadable) as fault:
            return Refused(entry.raw, str(fault))
        except TimeoutError:
            return Refused(entry.raw, f"a regular expression took longer than {_MATCH_SECONDS:.0f} s")

    def site(self, entry: Entry) -> str | None:
        """The first site whose condition holds."""
        return next((rule.name for rule in self._rules.sites if self._holds(rule.only_if, entry)), None)

    def record(self, entry: Entry, frame: Frame) -> Record:
        """The record of an entry. Raises Unfit and Unreadable."""
        record = Record(
            record_id=frame.record_id,
            components=tuple(
                self._component(rule, entry) for rule in self._rules.components if self._holds(rule.only_if, entry)
            ),
            start_time=frame.start,
            meta=self._meta(entry, frame.fixed),
            stop_time=frame.stop,
            job_identity=frame.job,
        )
        if (fault := record_fault(record)) is not None:
            raise Unfit(": ".join(fault))
        return record

    def _holds(self, condition: OnlyIf | None, entry: Entry) -> bool:
        if condition is None:
            return True
        return self._patterns[condition].search(entry.text(condition.key), timeout=_MATCH_SECONDS) is not None

    def _component(self, rule: ComponentRule, entry: Entry) -> Component:
        text = entry.text(rule.key)
        amount = rule.default_value
        reason = f"the column {rule.key} is empty"
        if text:
            try:
                amount = self._amount(rule, text)
            except Unreadable as fault:
                reason = f"the column {rule.key}: {fault}"
        if amount is None:
            raise Unfit(f"the component {rule.name} has no value: {reason}, and there is no default_value")
        if amount < 0:
            raise Unfit(f"the component {rule.name} is negative: {amount}")
        scores = tuple(Score(score.name, score.value) for score in rule.scores if self._holds(score.only_if, entry))
        return Component(rule.name, amount, scores)

    def _amount(self, rule: ComponentRule, text: str) -> int:
        if (amount := self._reading.number(rule.key, rule.key_type, text)) is None:
            raise Unfit(f"the component {rule.name} is of type {rule.key_type.value}, which is no number")
        return amount

    def _meta(self, entry: Entry, fixed: MetaMap) -> MetaMap:
        meta: MetaMap = {}
        for rule in self._rules.meta:
            if self._holds(rule.only_if, entry):
                meta.update(self._sound(self._entries(rule, entry), entry))
        meta.update(fixed)
        return meta

    def _entries(self, rule: MetaRule, entry: Entry) -> Mapping[str, str]:
        """What a rule puts into the meta: one value, or those of a JSON object."""
        text = entry.text(rule.key)
        default = None if rule.default_value is None else str(rule.default_value)
        if rule.key_type is KeyType.JSON:
            return self._json_entries(text or default or "", entry)
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
        raise Unfit(f"the meta {rule.name} has no value: the column {rule.key}: {reason}")

    def _printed(self, rule: MetaRule, text: str) -> str:
        if rule.key_type is KeyType.STRING:
            return text
        if rule.key_type is KeyType.ID:
            return text.partition("(")[0]
        if rule.key_type is KeyType.DATE_TIME:
            return self._reading.moment(text).strftime("%Y-%m-%d %H:%M:%S UTC")
        return str(self._reading.number(rule.key, rule.key_type, text))

    def _json_entries(self, text: str, entry: Entry) -> Mapping[str, str]:
        # A user writes such a column. What is unreadable in it must not take the job out of the account.
        try:
            return json_texts(text)
        except Unreadable as fault:
            self._tell(entry, str(fault))
            return {}

    def _sound(self, found: Mapping[str, str], entry: Entry) -> MetaMap:
        """The values that may be stored; others are left out for the same reason as above."""
        sound: MetaMap = {}
        for key, value in found.items():
            fault = name_fault(key) or name_fault(value)
            if fault is None:
                sound[key] = (value,)
            else:
                self._tell(entry, f"{key[:64]!r} {fault}")
        return sound

    def _tell(self, entry: Entry, reason: str) -> None:
        """Log what is left out of a record, once though the job is read many times."""
        said = (entry.name, reason)
        if said not in self._told:
            if len(self._told) >= _TOLD_MAX:
                self._told.clear()
            self._told[said] = None
            log.warning("%s.meta_left_out job=%s reason=%r", self._source, entry.name, reason)
