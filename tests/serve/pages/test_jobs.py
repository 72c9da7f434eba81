"""The pages of jobs: search, filters, paging, columns, sums, and the same question as a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.serve.live import Live
from tests.serve.pages.given import HOSTILE, JOBS, facility, job, link, rows, seen, tags


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with facility(tmp_path_factory.mktemp("jobs")) as running:
        yield running


def ids(found: list[list[str]]) -> list[str]:
    return [row[0] for row in found if row and row[0].startswith("slurm-")]


def test_the_newest_jobs_of_the_last_thirty_days_come_first(server: Live) -> None:
    answer = seen(server, "/jobs")
    assert answer.status == 200
    assert ids(rows(answer)) == [f"slurm-{number}" for number in range(50)]
    (first,) = [row for row in rows(answer) if row[0] == "slurm-0"]
    assert first[1:] == ["alice", "group0", "2024-05-06 06:08:09 UTC", "1 h", "2", "2.00", "50 %"]


def test_paging_shows_every_job_once(server: Live) -> None:
    found: list[str] = []
    path = "/jobs?since="
    while True:
        answer = seen(server, path)
        found += ids(rows(answer))
        if "Next page" not in answer.body.decode():
            break
        path = link(answer, "Next page")
    assert found == [f"slurm-{number}" for number in range(JOBS)]


def test_the_smallest_first_when_the_head_is_followed(server: Live) -> None:
    answer = seen(server, link(seen(server, "/jobs?since=2024-01-01"), "Ended"))
    assert ids(rows(answer))[0] == f"slurm-{JOBS - 1}"
    assert 'aria-sort="ascending"' in answer.body.decode()


def test_what_people_are_called_is_text_and_never_markup(server: Live) -> None:
    for path in ("/jobs", f"/jobs?q={quote(HOSTILE)}", f"/jobs?user={quote(HOSTILE)}&more=score%5B%22%5D%5Bgt%5D=1"):
        answer = seen(server, path)
        assert answer.status == 200
        assert tags(answer).count("script") == 1
        assert "<script>alert" not in answer.body.decode()


def test_a_word_finds_the_record_the_job_and_the_user_that_it_names(server: Live) -> None:
    assert 'the record <a href="./job/slurm-7">slurm-7</a>' in " ".join(seen(server, "/jobs?q=7").body.decode().split())
    answer = seen(server, "/jobs?q=bob")
    assert {row[1] for row in rows(answer) if row[0].startswith("slurm-")} == {"bob"}
    assert "Nothing that you may see is called" in seen(server, "/jobs?q=nobody").body.decode()


def test_the_file_holds_the_jobs_that_were_selected(server: Live) -> None:
    answer = seen(server, "/jobs?since=2024-05-01&user=bob&longer=30&more=component[Cores][gte]=2")
    shown = ids(rows(answer))
    assert len(shown) > 2
    for name in ("CSV", "JSON lines"):
        text = seen(server, link(answer, name)).body.decode()
        assert [line for line in text.splitlines() if "slurm-" in line].__len__() == len(shown)


def test_columns_are_those_that_were_ticked(server: Live) -> None:
    answer = seen(server, "/jobs?shown=1&show.component.TotalCPU=1&show.meta.site_id=1&show.energy=1")
    (head,) = [row for row in rows(answer) if row[0] == "Record"]
    assert head == ["Record", "TotalCPU (seconds)", "site_id", "Energy"]
    assert ["slurm-0", "3,600", "SITE-0", "1.00 kWh"] in rows(answer)


def test_the_sums_are_those_of_the_selection(server: Live) -> None:
    text = seen(server, "/jobs/totals?since=2024-05-01&user=bob").body.decode()
    count = len(ids(rows(seen(server, "/jobs?since=2024-05-01&user=bob"))))
    assert f"<dt>jobs</dt><dd>{count}</dd>" in text
    assert f"<dt>core-hours</dt><dd>{count * 2}.0</dd>" in text or f"<dt>core-hours</dt><dd>{count * 2}.00</dd>" in text
    assert "<dt>CPU efficiency</dt><dd>50 %</dd>" in text


def test_a_reader_of_one_site_sees_its_jobs_and_no_number_of_the_others(server: Live) -> None:
    assert len(ids(rows(seen(server, "/jobs?since=&rows=200", "site")))) == JOBS // 2
    assert f"<dt>jobs</dt><dd>{JOBS // 2}</dd>" in seen(server, "/jobs/totals?since=", "site").body.decode()
    assert seen(server, "/job/slurm-1", "site").status == 200
    assert seen(server, "/job/slurm-2", "site").status == 404
    assert "Nothing that you may see" in seen(server, "/jobs?q=slurm-2", "site").body.decode()
    assert "Nothing that you may see" in seen(server, "/jobs?q=group0", "site").body.decode()
    assert seen(server, "/groups/group0", "site").status == 404


@pytest.mark.parametrize(
    "query", ["more=nonsense[x]=1", "more=limit=5", "order=random", "since=yesterday", "cursor=abc", "what=1", "rows=7"]
)
def test_what_cannot_be_asked_is_said_on_a_page(server: Live, query: str) -> None:
    answer = seen(server, f"/jobs?{query}")
    assert answer.status == 400
    assert answer.headers["content-type"] == "text/html; charset=utf-8"


def test_who_says_no_name_is_asked_for_one(server: Live) -> None:
    assert server.ask("GET", "/jobs", headers={"accept": "text/html"}).status == 401


def test_a_job_that_runs_is_said_to_run(tmp_path: Path) -> None:
    with facility(tmp_path, [job(1, stop_time=None)]) as running:
        (row,) = [row for row in rows(seen(running, "/jobs?since=")) if row[0] == "slurm-1"]
        assert row[3] == "running"
        assert '<span class="state good">running</span>' in seen(running, "/job/slurm-1").body.decode()
