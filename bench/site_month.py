"""Made-up records of one month of a grid site with three clusters, of the shape that AUDITOR's collectors write.

What a month's report divides jobs by does not grow with the jobs. Jobs of a grid come as pilots under the certificates
of a few dozen services and users, ask for one core or a whole slot of eight, and a cluster has one or two generations
of machines: 200 users of 30 VOs, at most two clusters each, four submit hosts, two sizes of jobs a user. That gives
some 3,000 groups of site, user, VO, submit host and cores, whether there are a hundred thousand jobs or a million. (The
records of `bench.records` are the other end: 2,000 users who each use six numbers of cores, and a score in eight values
that changes from job to job.)
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta

from bench.records import FIRST_STOP
from jobmeter.model.record import Component, Record, Score

SITES = 3
VOS = 30
USERS = 200
SUBMIT_HOSTS = 4
DAYS = 31

_SIZES = ((1, 8), (1, 8), (1, 8), (8, 8), (1, 1), (8, 16), (4, 64))
_SCORES = ((13.5, 16.25), (18.4, 18.4), (11.75, 23.1))
"""HEPSPEC23 a core of the machines of each cluster."""


def site_name(number: int) -> str:
    """The name of a cluster, from 0 to SITES - 1."""
    return f"SITE-{number:02d}"


def records(count: int, seed: int = 1) -> Iterator[Record]:
    """`count` records that stop within one month, nearly in order, as collectors deliver them."""
    chance = random.Random(seed)
    users = [
        (
            f"/DC=org/DC=example/OU=people/CN=user {number:03d}",
            chance.randrange(VOS),
            chance.sample(range(SITES), 2),
            chance.choice(_SIZES),
        )
        for number in range(USERS)
    ]
    spacing_seconds = DAYS * 86_400 / count
    for number in range(count):
        user, vo, sites, sizes = users[int(chance.random() ** 2 * USERS)]
        site, cores = chance.choice(sites), chance.choice(sizes)
        stop = FIRST_STOP + timedelta(seconds=int((number + chance.random()) * spacing_seconds))
        runtime_seconds = int(chance.expovariate(1 / 14_400)) + 1
        yield Record(
            record_id=f"slurm-{site_name(site)}-{4_000_000 + number}",
            components=tuple(_components(chance, runtime_seconds, cores, site)),
            start_time=stop - timedelta(seconds=runtime_seconds),
            meta={
                "site_id": (site_name(site),),
                "group_id": (f"vo{vo:02d}",),
                "user_id": (user,),
                "submit_host": (f"ce{chance.randrange(SUBMIT_HOSTS)}.site.example.org:9619/jobs",),
                "voms": (f"/vo{vo:02d}/Role=production/Capability=NULL",),
            },
            stop_time=stop,
        )


def _components(chance: random.Random, runtime_seconds: int, cores: int, site: int) -> Iterator[Component]:
    yield Component("Cores", cores, (Score("HEPSPEC23", chance.choice(_SCORES[site])),))
    yield Component("WallTime", runtime_seconds, ())
    yield Component("CPUTime", int(runtime_seconds * cores * chance.random()), ())
    yield Component("MaxRSS", chance.randrange(1 << 36), ())
    if chance.random() < 0.5:
        yield Component("UserCPU", chance.randrange(10**6), ())
        yield Component("SystemCPU", chance.randrange(10**5), ())
