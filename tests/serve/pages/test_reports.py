"""Reports: stored and published side by side, the messages, and dead letters that are tried again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import pytest

from jobmeter.model.access import Grant, Role
from jobmeter.model.publication import Fate, Publication
from jobmeter.model.record import Record
from jobmeter.model.token import Token
from jobmeter.report.standing import standings
from jobmeter.serve.secret import digest_of
from jobmeter.serve.table import Beside
from jobmeter.store.open import open_store
from jobmeter.store.publications import Publications
from jobmeter.store.tokens import Tokens
from jobmeter.wire.auditor import encode_record
from tests.serve.live import Answer, Live
from tests.serve.pages.given import HOSTILE, NOW, facility, job, rows, seen

MONTH = "2024-04"


def told(site: str = "SITE-1", jobs: int = 5, **changes: object) -> Publication:
    fields: dict[str, object] = {
        "reporter": "apel", "receiver": "msg.example.org, topic gLite-APEL", "site": site, "month": MONTH,
        "what": "summary", "made": NOW, "digest": "ab" * 32, "fate": Fate.ACCEPTED,
        "counts": {"jobs": jobs, "unfit": 1}, "settled": NOW, "receipt": "42",
    }  # fmt: skip
    return Publication(**{**fields, **changes})  # type: ignore[arg-type]


@contextmanager
def reporting(folder: Path, records: list[Record] | None = None) -> Iterator[Live]:
    """A facility that keeps publications; the token "reporter" may tell of them, "writer" may administer and write."""
    address = f"sqlite:///{folder / 'jobs.db'}"
    open_store(address, migrate=True).close()
    tokens = Tokens(address)
    for name, roles in (("reporter", {Role.REPORT}), ("writer", {Role.READ, Role.WRITE, Role.ADMINISTER})):
        tokens.add(Token(name, (Grant(frozenset(roles)),), NOW - timedelta(days=1)), digest_of(name.encode()))
    tokens.close()
    kept = Publications(address)
    with facility(folder, records, Beside(None, None, kept)) as running:
        yield running
    kept.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Live]:
    with reporting(tmp_path) as running:
        yield running


def tell(server: Live, *publications: Publication, who: str = "reporter") -> Answer:
    headers = {"authorization": f"Bearer {who}", "content-type": "application/json"}
    return server.ask("POST", "/v2/publications", msgspec.json.encode(publications), headers)


def post(server: Live, fields: Mapping[str, str], who: str = "writer", **headers: str) -> Answer:
    ours = {
        "authorization": f"Bearer {who}",
        "content-type": "application/x-www-form-urlencoded",
        "sec-fetch-site": "same-origin",
        "accept": "text/html",
    }
    return server.ask("POST", "/reports", urlencode(fields), {**ours, **headers})


def test_stored_and_published_stand_side_by_side_with_the_gap(server: Live) -> None:
    assert tell(server, told(jobs=20)).json() == {"accepted": 1}
    answer = seen(server, "/reports")
    (row,) = [row for row in rows(answer) if row[:2] == [MONTH, "SITE-1"] and len(row) == 8]
    assert row[2:7] == ["30", "20", "1", "0", "9"]
    (other,) = [row for row in rows(answer) if row[:2] == [MONTH, "SITE-0"]]
    assert other[2:7] == ["30", *["–"] * 4]  # noqa: RUF001
    assert "nothing was published" in other[7]


def test_sites_that_are_published_under_one_name_are_added_up(server: Live) -> None:
    named = told("GRID-SITE", 57, of_sites=("SITE-0", "SITE-1"), counts={"jobs": 57, "unfit": 1, "unrun": 2})
    assert tell(server, named).status == 200
    answer = seen(server, "/reports")
    (row,) = [row for row in rows(answer) if row[0] == MONTH and row[1].startswith("GRID-SITE")]
    assert row[1:7] == ["GRID-SITE = SITE-0 + SITE-1", "60", "57", "1", "2", "0"]
    assert not [row for row in rows(answer) if row[:2] in ([MONTH, "SITE-0"], [MONTH, "SITE-1"])]
    assert "GRID-SITE" not in seen(server, "/reports", "site").body.decode()  # it reads one of the two sites only


def test_a_site_that_is_published_to_two_receivers_stands_for_each() -> None:
    two = [told(jobs=9, counts={"jobs": 9}, receiver="a"), told("OTHER", 8, of_sites=("SITE-1",), receiver="b")]
    found = standings({(MONTH, "SITE-1"): 9, (MONTH, "SITE-2"): 3}, two)
    assert [(one.site, one.receiver, one.stored, one.published, one.gap) for one in found] == [
        ("OTHER", "b", 9, 8, 0),
        ("SITE-1", "a", 9, 9, 0),
        ("SITE-2", "", 3, None, None),
    ]


def test_telling_twice_changes_nothing_and_news_takes_its_place(server: Live) -> None:
    waiting = told(fate=Fate.WAITING, receipt="", settled=None, reason="the service is away")
    for one in (waiting, waiting, told()):
        assert tell(server, one).status == 200
    found = seen(server, "/v2/publications?from=2024-04&to=2024-04").json()["publications"]
    assert [(one["fate"], one["receipt"]) for one in found] == [("accepted", "42")]


def test_who_reads_one_site_sees_the_messages_about_it(server: Live) -> None:
    tell(server, told("SITE-0", receipt="zero"), told("SITE-1", receipt="one"))
    text = seen(server, "/reports", "site").body.decode()
    assert "one" in text
    assert "SITE-0" not in text
    assert "Dead letters" not in text
    assert [one["site"] for one in seen(server, "/v2/publications", "site").json()["publications"]] == ["SITE-1"]


def test_only_reporters_tell_and_only_what_can_be_kept(server: Live) -> None:
    assert tell(server, told(), who="all").status == 403
    assert tell(server, told(month="2024-13")).status == 400
    assert tell(server, told(site="a\0b")).status == 400
    assert tell(server, told(part=3)).status == 400
    assert server.ask("GET", "/v2/publications?from=x", headers={"authorization": "Bearer all"}).status == 400


def test_a_dead_letter_is_shown_as_text_and_what_holds_no_record_cannot_be_tried(server: Live) -> None:
    refused = encode_record(job(900, meta={"site_id": ("SITE-9",)}))
    headers = {"authorization": "Bearer site", "content-type": "application/json"}
    assert server.ask("POST", "/record", refused, headers).status == 403
    broken = server.ask(
        "POST", "/record", b'{"record_id": "<script>alert(1)</script>"', {**headers, "authorization": "Bearer writer"}
    )
    assert broken.status == 400
    listed = seen(server, "/reports", "writer").body.decode()
    assert "<script>alert" not in listed
    assert "its sender must correct it" in listed


def test_trying_again_stores_the_record_and_says_so(tmp_path: Path) -> None:
    with reporting(tmp_path, [job(1)]) as running:
        headers = {"authorization": "Bearer writer", "content-type": "application/json"}
        other = job(1, meta={"site_id": ("SITE-1",), "note": (HOSTILE,)})
        assert running.ask("POST", "/record", encode_record(other), headers).status == 409
        (letter,) = seen(running, "/v2/dead-letters", "writer").json()
        number = str(letter["number"])
        again = post(running, {"letter": number})
        assert again.status == 303
        assert again.headers["location"].endswith("reports?stored=0&refused=1")
        withdrawn = {"why": "twice", "record": msgspec.json.decode(encode_record(other))}
        done = running.post("/v2/records/slurm-1/corrections", withdrawn, {**headers, "authorization": "Bearer all"})
        assert done.status == 200
        assert post(running, {"letter": number}).headers["location"].endswith("stored=1&refused=0")
        assert "stored by now" in seen(running, "/reports", "writer").body.decode()


@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}])
def test_a_form_of_another_site_tries_nothing(server: Live, headers: dict[str, str]) -> None:
    assert post(server, {"letter": "1"}, **headers).status == 403


def test_who_does_not_administer_tries_nothing(server: Live) -> None:
    assert post(server, {"letter": "1"}, "site").status == 400
    assert post(server, {"letter": "1"}).status == 404


def test_jobs_that_were_told_day_by_day_are_added_up_and_a_later_word_counts() -> None:
    days = [told(jobs=3, what="jobs", day=day, made=NOW - timedelta(hours=day)) for day in (1, 2)]
    newer = told(jobs=4, what="jobs", day=1, made=NOW)
    (one,) = standings({(MONTH, "SITE-1"): 9}, [newer, *days])
    assert (one.published, one.unfit, one.gap) == (7, 2, 0)
