"""Counts by chosen meta keys, over both databases, are what the records say, whatever happens meanwhile."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path

import pytest

from jobmeter.model.question import Question
from jobmeter.model.record import Record
from jobmeter.model.version import Edit
from jobmeter.store import kept_counts
from jobmeter.store.archive.moving import bring_back
from jobmeter.store.open import ArchivingStore
from tests.given import ALL, decoded, lines, record
from tests.process import PATIENCE_SECONDS
from tests.store.archive.material import HOSTILE, archived, mixed

EDIT = Edit("officer", "why")
KEYS = ("queue", "vo")


def job(number: int, **meta: tuple[str, ...]) -> Record:
    return record(f"r{number}", meta={"queue": (f"q{number % 3}",), **meta}, stop=None if number % 5 == 0 else 10)


def counted(store: ArchivingStore, key: str) -> dict[str, int] | None:
    while store.fold():
        pass
    assert store.check_rollups() == []
    return store.counted.of(key)


def there(store: ArchivingStore, key: str) -> dict[str, int]:
    """What the records say, looked at one by one."""
    found: Counter[str] = Counter()
    for line in lines(store, Question(ALL)):
        found.update({*(decoded(line)["meta"] or {}).get(key, ())})
    return dict(found)


def test_counts_follow_whatever_happens_to_records(store: ArchivingStore, tmp_path: Path) -> None:
    store.put([job(number) for number in range(10)])
    store.fold()
    store.put([job(number) for number in range(10, 20)])
    assert store.counted.of("queue") is None
    store.counted.choose(KEYS)
    store.counted.choose(KEYS)
    assert counted(store, "queue") == there(store, "queue") == {"q0": 7, "q1": 7, "q2": 6}
    assert counted(store, "vo") == {}
    store.correct(job(1, queue=("q0", "q9", "q0"), vo=("x",)), EDIT)
    store.withdraw("r2", EDIT)
    store.put([job(number, vo=("x", "y")) for number in range(20, 23)])
    store.correct(job(22, vo=()), EDIT)
    for step in (lambda: None, lambda: archived(store, tmp_path / "archive"), store.rebuild_rollups):
        step()
        assert {key: counted(store, key) for key in KEYS} == {key: there(store, key) for key in KEYS}
    store.correct(job(3, queue=("moved",)), EDIT)
    with store.shelf() as shelf:
        bring_back(shelf, store.archived_files()[0])
    assert counted(store, "queue") == there(store, "queue")
    store.counted.choose(["vo"])
    assert store.counted.of("queue") is None
    assert counted(store, "vo") == there(store, "vo")


def test_a_key_that_is_chosen_late_counts_the_archive_as_well(store: ArchivingStore, tmp_path: Path) -> None:
    store.put(mixed())
    assert archived(store, tmp_path / "archive")
    store.correct(record("slurm-12", meta={"note": ("changed",), "group": ("g",)}), EDIT)
    keys = ["note", "group", "absent", "Site_ID", *HOSTILE]
    store.counted.choose(keys)
    for key in keys:
        assert counted(store, key) == there(store, key)


def test_what_happens_while_a_key_is_counted_is_neither_lost_nor_counted_twice(
    store: ArchivingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put([job(number) for number in range(30)])
    store.fold()
    build, begun, go_on = kept_counts.build, threading.Event(), threading.Event()

    def slow(view: kept_counts.View) -> kept_counts.Built:
        built = build(view)
        begun.set()
        assert go_on.wait(PATIENCE_SECONDS)
        return built

    monkeypatch.setattr(kept_counts, "build", slow)
    counting = threading.Thread(target=store.counted.choose, args=(KEYS,))
    counting.start()
    assert begun.wait(PATIENCE_SECONDS)
    store.put([job(number) for number in range(30, 40)])
    store.fold()
    store.correct(job(4, queue=("other",)), EDIT)
    store.withdraw("r5", EDIT)
    assert store.counted.of("queue") is None
    go_on.set()
    counting.join(PATIENCE_SECONDS)
    assert counted(store, "queue") == there(store, "queue")


def test_rollups_that_are_built_anew_meanwhile_make_what_was_counted_of_no_use(
    store: ArchivingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put([job(number) for number in range(30)])
    store.fold()
    build = kept_counts.build
    rebuilding = threading.Thread(target=store.rebuild_rollups)

    def late(view: kept_counts.View) -> kept_counts.Built:
        built = build(view)
        rebuilding.start()
        rebuilding.join(1)  # PostgreSQL has it wait for the end of this view
        return built

    monkeypatch.setattr(kept_counts, "build", late)
    store.counted.choose(KEYS)
    rebuilding.join(PATIENCE_SECONDS)
    assert counted(store, "queue") == there(store, "queue")


def test_a_key_with_too_many_values_is_not_kept(store: ArchivingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_counts, "VALUES_MAX", 5)
    store.put([job(number, vo=(f"v{number}",)) for number in range(5)])
    store.counted.choose(KEYS)
    assert counted(store, "vo") == there(store, "vo")
    store.put([job(number, vo=(f"v{number}",)) for number in range(5, 7)])
    assert counted(store, "vo") is None
    assert counted(store, "queue") == there(store, "queue")
    store.counted.choose(["record"])
    store.counted.choose(KEYS)
    assert counted(store, "vo") is None
