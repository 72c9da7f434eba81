"""Users, groups and sites: what they used, month by month, and only what may be seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.serve.live import Live, until
from tests.serve.pages.given import HOSTILE, JOBS, facility, job, link, rows, seen, tags


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with facility(tmp_path_factory.mktemp("usage")) as running:
        yield running


def test_every_user_has_a_row_with_jobs_core_hours_efficiency_and_energy(server: Live) -> None:
    answer = seen(server, "/users")
    assert ["bob", "40", "80.0", "50 %", "40.0 kWh", "1 d 16 h"] in rows(answer)
    assert tags(answer).count("script") == 0
    assert "<script>alert" not in answer.body.decode()


def test_months_without_a_job_are_there_with_zero_jobs_and_nothing_else(server: Live) -> None:
    assert ["2023-06", "0", "–", "–", "–", "–"] in rows(seen(server, "/users"))  # noqa: RUF001


def test_groups_and_sites_are_counted_alike(server: Live) -> None:
    for kind in ("group", "site"):
        found = [row for row in rows(seen(server, f"/users?by={kind}")) if row[0].lower() in {"group0", "site-0"}]
        assert found[0][1] == str(JOBS // 2)


def test_a_user_has_a_page_with_months_groups_and_sites(server: Live) -> None:
    answer = seen(server, f"/users/{quote(HOSTILE, safe='')}")
    assert answer.status == 200
    assert tags(answer).count("script") == 0
    assert ["group0", "20", "40.0", "50 %", "20.0 kWh", "20 h"] in rows(answer)
    text = seen(server, link(answer, "CSV")).body.decode()
    assert text.startswith("month,count,")


def test_a_record_that_names_its_user_by_both_keys_counts_once(tmp_path: Path) -> None:
    both = job(1, meta={"user_id": ("eve",), "user": ("eve",)})
    old = job(2, meta={"user": ("eve",)})
    with facility(tmp_path, [both, old, job(3)]) as running:
        assert "<dt>jobs</dt><dd>2</dd>" in seen(running, "/users/eve").body.decode()
        assert [row[1] for row in rows(seen(running, "/users")) if row[0] == "eve"] == ["2"]


def test_a_reader_of_one_site_sees_its_share_alone(server: Live) -> None:
    found = {row[0]: row[1] for row in rows(seen(server, "/users?by=site", "site")) if len(row) == 6}
    assert found["SITE-1"] == str(JOBS // 2)
    assert "SITE-0" not in found
    assert [row[1] for row in rows(seen(server, "/users", "site")) if row[0] == "bob"] == ["20"]


@pytest.mark.parametrize("query", ["from=2024-13", "from=9999-12", "from=2024-05&to=2023-01", "by=planet", "to=x"])
def test_months_that_there_are_not_are_refused_on_a_page(server: Live, query: str) -> None:
    assert seen(server, f"/users?{query}").status == 400


def test_records_without_a_group_have_a_row_of_their_own_also_when_sums_are_kept(tmp_path: Path) -> None:
    with facility(tmp_path, [job(1), job(2, meta={"user_id": ("eve",)})]) as running:
        until(
            lambda: ["no group named", "1", "2.00", "50 %", "1.00 kWh", "1 h"] in rows(seen(running, "/users?by=group"))
        )
        assert seen(running, "/users/eve").status == 200
