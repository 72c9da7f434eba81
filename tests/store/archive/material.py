"""Records, and stores of which a part is archived."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from jobmeter.model.record import Component, Record, Score
from jobmeter.store.archive.moving import Moved, Plan, archive_old
from jobmeter.store.open import ArchivingStore

NOW = datetime(2025, 6, 15, tzinfo=UTC)
"""With one month kept whole, what stopped in April or before is archived."""

APRIL = datetime(2025, 4, 1, tzinfo=UTC)
HOSTILE = [
    "quote \" and \\ and ' and ; DROP TABLE records; --",
    "dots.and[brackets]{$.meta}{0}",
    "%s %(x)s %% :name ? $1 ||",
    "line\nbreak\ttab \x01\x1f\x7f",
    "ünïcode \u2028 \U0001f469\u200d\U0001f469\u200d\U0001f467 \ufffe",
    "null",
    '","',
    " leading and trailing ",
    "00042",
]


def at(days: float, microseconds: int = 0) -> datetime:
    """The moment so many days after the first of April."""
    return APRIL + timedelta(days=days, microseconds=microseconds)


def job(record_id: str, stop: datetime | None, *, seconds: float = 3600, **changes: Any) -> Record:
    """A record that stopped then."""
    start = (stop or at(0)) - timedelta(seconds=seconds)
    fields: dict[str, Any] = {
        "meta": {"site_id": ("A",), "user_id": ("ada",)},
        "components": (Component("Cores", 8, (Score("HEPSPEC", 11.25),)), Component("WallTime", int(seconds), ())),
        **changes,
    }
    return Record(record_id=record_id, start_time=start, stop_time=stop, **fields)


def mixed() -> list[Record]:
    """Records of every shape over five months, some hostile, some odd, some that never stopped."""
    made = [
        job(
            f"slurm-{number}",
            at(-60 + number * 0.75, number % 3 * 500),
            seconds=100 + number,
            meta={"site_id": (f"S{number % 3}",), "group": ("g", "h"), **({"note": ()} if number % 5 else {})},
            components=(
                Component("Cores", number, (Score("HS", 1.5 + number % 2),)),
                Component("WallTime", 100 + number, ()),
            ),
        )
        for number in range(160)
    ]
    made += [
        job(
            f"odd {name}",
            at(index, 123456),
            meta={name: (name, "x"), "site_id": (name,)},
            components=(Component(name, 2**63 - 1, (Score(name, 1.05e-8),)),),
        )
        for index, name in enumerate(HOSTILE)
    ]
    made += [
        job("no meta", at(3), meta=None, components=()),
        job("empty meta", at(3), meta={}),
        job("twice", at(3), components=(Component("Cores", 1, ()), Component("Cores", 2, ()))),
        job("not its runtime", at(4), components=(Component("WallTime", 5, ()),)),
        job("x" * 2000, at(5)),
        job("case", at(5), meta={"Site_ID": ("A",), "SITE_ID": ("B",)}),
        job("ancient", datetime(1, 1, 2, tzinfo=UTC)),
        job("instant", at(6), seconds=0),
        job("running", None),
        job("fraction", at(7, 1), seconds=0.000001),
    ]
    made += [job(f"tied-{number}", at(8)) for number in range(20)]
    return made


def archived(store: ArchivingStore, folder: Path, **changes: Any) -> list[Moved]:
    """Archive what the policy says; the files that were made."""
    plan = Plan(**{"folder": folder, "older_than_months": 1, "file_records": 50, **changes})
    with store.shelf() as shelf:
        return list(archive_old(shelf, plan, NOW))


def hot_ids(store: ArchivingStore) -> set[str]:
    """The ids that are in the database itself."""
    with store.shelf() as shelf, shelf.view() as session:
        rows: Sequence[Any] = session.execute("SELECT record_id FROM records")
        return {key.decode() if isinstance(key, bytes) else key for (key,) in rows}
