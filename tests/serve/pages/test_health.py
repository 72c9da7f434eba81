"""The page of health: collectors, agents, conflicts, what is folded, and whether all that was seen is stored."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from jobmeter.model.collection import Collection, Cost, DayCount
from jobmeter.model.conflict import Conflict
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.record import microseconds
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.serve.table import Beside
from jobmeter.settings.samples import SampleBounds
from jobmeter.store.conflicts import Conflicts
from jobmeter.store.open import open_store
from jobmeter.store.samples.open import SampleFolder
from jobmeter.wire.auditor import encode_record
from tests.serve.live import Live
from tests.serve.pages.given import HOSTILE, NOW, facility, job, rows, seen
from tests.store_samples.given import SetClock

DAY = (NOW - timedelta(days=1)).date()
NOW_US = microseconds(NOW)
CPU = Metric("agent_cpu", "nanoseconds", Kind.COUNTER, "Processor time.")


def tell(folder: Path) -> None:
    """Three collectors: one is well, one has waiting records that grow old, one was not heard of for two hours."""
    store = open_store(f"sqlite:///{folder / 'jobs.db'}", migrate=True)
    day = DayCount(DAY, records=5, refused=1, delivered=5)
    cost = Cost(1000.0, 15.0, 40 * 2**20)
    store.ledger.keep(Collection("slurm", "a", "1.0", "slurm", days=(day,), cost=cost), NOW_US - 30_000_000)
    store.ledger.keep(Collection(HOSTILE, "b", HOSTILE, None, 7, 0, 3600), NOW_US - 30_000_000)
    store.ledger.keep(Collection("oar", "c", "1.0", "oar", letters=2), NOW_US - 7_200_000_000)
    store.close()


def agents(samples: SampleFolder) -> None:
    """An agent that tells something now, and one that fell silent three hours ago."""
    for node, minutes in (("n1", 0), (HOSTILE, 180)):
        for step in (2, 1, 0):
            time_ns = (NOW_US - (minutes + step) * 60_000_000) * 1000
            sample = Sample("agent", node, None, time_ns, ("agent_cpu",), ((1000 - step) * 10**9,))
            samples.sink().write(SampleBatch(node, (sample,), (CPU,)))
    samples.sink().flush()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("health")
    tell(folder)
    conflicts = Conflicts(f"sqlite:///{folder / 'jobs.db'}")
    conflicts.keep([Conflict("slurm-1", encode_record(job(1)), HOSTILE, NOW)])
    samples = SampleFolder(folder / "samples", SampleBounds(), SetClock(NOW_US * 1000))
    agents(samples)
    with facility(folder, [job(number) for number in range(4)], Beside(samples, conflicts=conflicts)) as running:
        yield running
    samples.close()
    conflicts.close()


def test_each_collector_has_its_state_lag_loss_and_cost(server: Live) -> None:
    answer = seen(server, "/health")
    assert "<script>alert" not in answer.body.decode()
    found = rows(answer)
    assert ["slurm", "well", "0", "–", "0", "1.5 %", "40.0 MiB", "1.0", "30 s ago"] in found  # noqa: RUF001
    assert [HOSTILE, "behind", "7", "1 h", "0", "–", "–", HOSTILE, "30 s ago"] in found  # noqa: RUF001
    assert ["oar", "silent", "0", "–", "2", "–", "–", "1.0", "2 h ago"] in found  # noqa: RUF001


def test_an_agent_that_fell_silent_is_named(server: Live) -> None:
    text = " ".join(seen(server, "/health").body.decode().split())
    assert "1 agent that was heard of in the last day is silent:" in text
    assert "n1</a> (seen" not in text


def test_conflicts_are_counted_and_named_to_those_who_may_decide(tmp_path: Path) -> None:
    conflicts = Conflicts(f"sqlite:///{tmp_path / 'jobs.db'}")
    open_store(f"sqlite:///{tmp_path / 'jobs.db'}", migrate=True).close()
    conflicts.keep([Conflict("slurm-1", encode_record(job(1)), HOSTILE, NOW)])
    with facility(tmp_path, [job(1)], Beside(conflicts=conflicts)) as running:
        answer = seen(running, "/health")
        assert ["1", "slurm-1", HOSTILE, "1", "just now"] in rows(answer)
        assert "Conflicts" not in seen(running, "/health", "site").body.decode()
    conflicts.close()


def test_a_reader_of_one_site_sees_nothing_of_collectors(server: Live) -> None:
    text = seen(server, "/health", "site").body.decode()
    assert "Collectors" not in text
    assert "reconciliation" not in text
    assert seen(server, "/reconciliation", "site").status == 403


def test_what_was_seen_and_is_not_stored_is_a_gap_by_source_and_day(server: Live) -> None:
    answer = seen(server, "/reconciliation")
    gap = [str(DAY), "slurm", "6", "2", "1", "0", "0", "3"]
    assert rows(answer).count(gap) == 2  # among the gaps, and among all days
    assert (
        "No collector has reported" in seen(server, "/reconciliation?since=2020-01-01&until=2020-01-02").body.decode()
    )
    assert seen(server, "/reconciliation?since=x").status == 400


def test_records_that_are_in_no_rollup_yet_are_counted(server: Live) -> None:
    assert "records not in rollups yet" in seen(server, "/health").body.decode()
