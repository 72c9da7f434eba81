"""Users, groups and sites: what they used, month by month, and only what may be seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from jobmeter.serve.web.figures import span
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


def test_a_new_account_says_how_the_first_job_comes_into_it(tmp_path: Path) -> None:
    with facility(tmp_path, []) as server:
        for path in ("/users", "/jobs"):
            body = seen(server, path).body.decode()
            assert "There is no record yet" in body
            assert "jobmeter run" in body
            assert "jobmeter collect slurm" in body


def test_an_empty_choice_of_an_account_with_jobs_is_not_taken_for_a_new_account(tmp_path: Path) -> None:
    with facility(tmp_path, [job(1)]) as server:
        for path in ("/users?from=2020-01&to=2020-02", "/jobs?since=2020-01-01&until=2020-01-02"):
            assert "There is no record yet" not in seen(server, path).body.decode()


def test_how_many_there_are_stands_over_the_table(tmp_path: Path) -> None:
    many = [job(number, meta={"user_id": (f"user{number}",)}) for number in range(101)]
    with facility(tmp_path, many) as server:
        assert "The first 100 of 101 users" in seen(server, "/users").body.decode()
        assert "1 group<" in seen(server, "/users?by=group").body.decode()


def test_hours_are_left_out_of_hundreds_of_days() -> None:
    assert span(99 * 86400 + 3600) == "99 d 1 h"
    assert span(4278 * 86400 + 19 * 3600) == "4,278 d"
