"""Made-up records of the shape that AUDITOR's collectors write: 5 meta keys, 3 to 7 components, 450 to 700 bytes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from jobmeter.model.record import Component, Record, Score

SITES = 20
GROUPS = 100
USERS = 2000
FIRST_STOP = datetime(2025, 1, 1, tzinfo=UTC)
SPAN_SECONDS = 365 * 86400
BASE_RECORDS = 100_000


def site_name(number: int) -> str:
    """The name of a site, from 0 to SITES - 1."""
    return f"SITE-{number:02d}"


def records(count: int, seed: int = 1) -> Iterator[Record]:
    """`count` records with stop times over twelve months, nearly in order, as collectors deliver them."""
    chance = random.Random(seed)
    groups = [(f"grp{number:03d}", site_name(number % SITES)) for number in range(GROUPS)]
    users = [(f"user{number:04d}", *chance.choice(groups)) for number in range(USERS)]
    for number in range(count):
        user, group, site = users[int(chance.random() ** 2 * USERS)]
        # The collectors of many sites report every few minutes, each in order.
        stop = FIRST_STOP + timedelta(seconds=int(number * SPAN_SECONDS / count + chance.random() * 600))
        runtime_seconds = int(chance.expovariate(1 / 7200)) + 1
        yield Record(
            record_id=f"slurm-{site}-{4_000_000 + number}",
            components=tuple(_components(chance, runtime_seconds)),
            start_time=stop - timedelta(seconds=runtime_seconds),
            meta={
                "site_id": (site,),
                "group_id": (group,),
                "user_id": (user,),
                "submit_host": (f"ce{chance.randrange(4)}.site.example.org",),
                "voms": (f"/{group}/Role=production/Capability=NULL",),
            },
            stop_time=stop,
        )


def replicated(count: int) -> Iterator[Record]:
    """`count` records over the same twelve months, of which no more than BASE_RECORDS are made up: a quick source.

    They come again and again, each time later and with ids of their own.
    """
    if count <= BASE_RECORDS:
        yield from records(count)
        return
    base = list(records(BASE_RECORDS))
    shrink = count / BASE_RECORDS
    offsets = [(one.stop_time or FIRST_STOP) - FIRST_STOP for one in base]
    heads = [one.record_id.rpartition("-")[0] for one in base]
    runtimes = [(one.stop_time or FIRST_STOP) - one.start_time for one in base]
    for number in range(count):
        turn, place = divmod(number, BASE_RECORDS)
        one = base[place]
        seconds = (turn * SPAN_SECONDS + offsets[place].total_seconds()) / shrink
        stop = FIRST_STOP + timedelta(seconds=int(seconds))
        record_id = f"{heads[place]}-{4_000_000 + number}"
        yield Record(record_id, one.components, stop - runtimes[place], one.meta, stop)


def _components(chance: random.Random, runtime_seconds: int) -> Iterator[Component]:
    cores = chance.choice((1, 1, 1, 2, 4, 8, 16, 64))
    yield Component("Cores", cores, (Score("HEPSPEC23", 13.5 + chance.randrange(8) * 0.25),))
    yield Component("WallTime", runtime_seconds, ())
    yield Component("CPUTime", int(runtime_seconds * cores * chance.random()), ())
    if chance.random() < 0.8:
        yield Component("MaxRSS", chance.randrange(1 << 36), ())
    if chance.random() < 0.5:
        yield Component("UserCPU", chance.randrange(10**6), ())
        yield Component("SystemCPU", chance.randrange(10**5), ())
    if chance.random() < 0.3:
        yield Component("NNodes", chance.randrange(1, 9), ())
