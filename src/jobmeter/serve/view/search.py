"""One word, and what it may be the name of: a record, a job of a batch system, a user, a group, a site.

Every question here ends at the first record that answers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from jobmeter.contract import RecordStore
from jobmeter.model.question import Bound, MetaCondition, Op, Order, Question, Scope
from jobmeter.model.record import microseconds, name_fault
from jobmeter.serve.joined import JoinRule
from jobmeter.serve.view.selection import FACETS
from jobmeter.wire.auditor import decode_record

_NEWEST = Order(descending=True)


class Finding(Struct, frozen=True):
    """The word is the name of such a thing: `kind` is record, or one of FACETS; `name` its whole name."""

    kind: str
    name: str


def findings(store: RecordStore, scope: Scope, word: str, rules: Sequence[JoinRule]) -> Iterator[Finding]:
    """All that the word is the name of, as far as the scope goes."""
    if name_fault(word) is not None:
        return
    for record_id in dict.fromkeys((word, *_ids(word, rules))):
        if store.one(record_id, scope) is not None:
            yield Finding("record", record_id)
    for kind, keys in FACETS.items():
        if any(holds(store, scope, key, word) for key in keys):
            yield Finding(kind, word)


def keys_of(store: RecordStore, scope: Scope, facets: Mapping[str, str]) -> dict[str, str]:
    """For each facet the meta key under which records have this value; the newer key where none has."""
    return {
        kind: next((key for key in FACETS[kind] if holds(store, scope, key, value)), FACETS[kind][0])
        for kind, value in facets.items()
    }


def holds(store: RecordStore, scope: Scope, key: str, value: str) -> bool:
    """Whether some record that the scope sees has this value under the meta key."""
    where = Question(scope, meta=(MetaCondition(key, (value,)),), order=_NEWEST, limit=1)
    return name_fault(value) is None and bool(store.page(where, 1).bodies)


def newest_of(store: RecordStore, scope: Scope, keys: Iterable[str], value: str, since: datetime) -> datetime | None:
    """When the newest job with this value under one of the meta keys ended, as far as that was not before `since`."""
    ended = []
    for key in keys:
        bound = Bound(Op.GTE, microseconds(since))
        where = Question(scope, meta=(MetaCondition(key, (value,)),), stop_time=(bound,), order=_NEWEST, limit=1)
        ended += [decode_record(body).stop_time for body in store.page(where, 1).bodies]
    return max((moment for moment in ended if moment is not None), default=None)


def _ids(job: str, rules: Sequence[JoinRule]) -> Iterator[str]:
    """The record ids that a job with this id has by the rules that need nothing else."""
    for rule in rules:
        if "{cluster}" not in rule.record_id or rule.cluster is not None:
            yield rule.record_id.format(manager=rule.manager, cluster=rule.cluster, job=job, run=0)
