"""Names that are markup, formulas or addresses, in every field that a page shows: they are text, everywhere."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from urllib.parse import quote, urlsplit

import msgspec
import pytest
from msgspec.structs import replace

from jobmeter.model.access import Grant, Role
from jobmeter.model.collection import Collection, DayCount
from jobmeter.model.conflict import Conflict
from jobmeter.model.facility import Received
from jobmeter.model.job import JobIdentity
from jobmeter.model.letter import DeadLetter
from jobmeter.model.metric import Kind, Metric
from jobmeter.model.publication import Fate, Publication
from jobmeter.model.record import Component, Score, microseconds
from jobmeter.model.sample import Sample, SampleBatch
from jobmeter.model.summary import JobSummary, MetricSummary
from jobmeter.model.token import Token
from jobmeter.observe.kernel import commands
from jobmeter.serve.access import AccessSettings
from jobmeter.serve.secret import digest_of
from jobmeter.serve.settings import ServeSettings
from jobmeter.serve.table import Beside
from jobmeter.settings.samples import SampleBounds
from jobmeter.store.conflicts import Conflicts
from jobmeter.store.documents import Documents
from jobmeter.store.open import open_store
from jobmeter.store.publications import Publications
from jobmeter.store.samples.open import SampleFolder
from jobmeter.store.summaries import Summaries
from jobmeter.store.tokens import Tokens
from jobmeter.wire.auditor import encode_record
from tests.serve.live import Answer, Live, live
from tests.serve.pages.given import HTML, NOW, job
from tests.store_samples.given import SetClock

BAD = "=1+1\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}&amp;%0d%0aSet-Cookie:x=1"
LINK = "javascript:alert(1)//"
CLIMB = "../../x"
NOW_NS = microseconds(NOW) * 1000
IDENTITY = JobIdentity(BAD, BAD, "1")
RECORD = replace(
    job(1),
    record_id=BAD,
    components=(Component("Cores", 2, ()), Component(BAD, 5, (Score(BAD, 1.5),))),
    meta={"site_id": (CLIMB,), "group_id": (LINK,), "user_id": (BAD,), "comment": (BAD,), BAD: (BAD, LINK)},
)
PLAIN_TAGS = re.compile(
    "html|head|meta|title|link|body|header|nav|ul|ol|li|p|main|footer|h1|h2|h3|dl|dt|dd|div|section|table|caption|thead|"
    "tbody|tr|th|td|time|span|code|pre|form|label|select|option|button|input|details|summary|small|strong|figure|"
    "figcaption|meter|fieldset|legend|a|img|script"
)
PATHS = (
    "/", "/jobs", f"/jobs?q={quote(BAD)}", f"/jobs?user={quote(BAD)}", f"/jobs/totals?user={quote(BAD)}",
    f"/job/{quote(BAD, safe='')}", "/users", "/users?by=group", "/users?by=site", f"/users/{quote(BAD, safe='')}",
    f"/groups/{quote(LINK, safe='')}", f"/sites/{quote(CLIMB, safe='')}", "/nodes", f"/nodes/{quote(BAD, safe='')}",
    "/queues", "/reports", "/health", "/reconciliation", "/about", f"/nothing/{quote(BAD, safe='')}",
    f"/jobs?more={quote(BAD)}", f"/users?by={quote(BAD)}", f"/reports?stored={quote(BAD)}&refused={quote(BAD)}",
)  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """Everything that can have a name is called BAD."""
    folder = tmp_path_factory.mktemp("hostile")
    address = f"sqlite:///{folder / 'jobs.db'}"
    store = open_store(address, migrate=True)
    parts = (Tokens(address), Documents(address), Summaries(address), Publications(address), Conflicts(address))
    tokens, documents, summaries, publications, conflicts = parts
    samples = SampleFolder(folder / "samples", SampleBounds(), SetClock(NOW_NS))
    store.put([RECORD, replace(RECORD, record_id="correct-me")])
    store.bury([DeadLetter(BAD, BAD, BAD.encode(), NOW, len(BAD)), DeadLetter(BAD, BAD, encode_record(RECORD), NOW, 9)])
    store.ledger.keep(
        Collection(BAD, BAD, BAD[:64], "p", 1, 1, 5, (DayCount(NOW.date(), records=3),)), microseconds(NOW)
    )
    conflicts.keep([Conflict(BAD, encode_record(RECORD), BAD, NOW)])
    publications.put([_published()])
    summaries.put([(_summary(), BAD)])
    documents.keep(list(_documents()))
    samples.sink().write(SampleBatch(BAD, tuple(_samples()), METRICS))
    samples.sink().flush()
    roles = frozenset({Role.READ, Role.WRITE, Role.ADMINISTER, Role.CORRECT, Role.MONITOR})
    tokens.add(Token(BAD, (Grant(roles),), NOW), digest_of(b"all"))
    beside = Beside(samples, summaries, publications, conflicts)
    with live(store, ServeSettings(access=AccessSettings(required=True)), tokens, documents, beside=beside) as running:
        running.post("/v2/records/correct-me/corrections", _correction(), _shown_to("application/json"))
        yield running
    samples.close()
    for each in (*reversed(parts), store):
        each.close()


METRICS = (
    Metric("agent_cpu", "nanoseconds", Kind.COUNTER, "Processor time."),
    Metric("procstats_loadavg_1min", "count", Kind.GAUGE, "Load."),
    Metric("network_rx_bytes", "bytes", Kind.COUNTER, "Received."),
    *commands.METRICS,
)


def _correction() -> dict[str, object]:
    return {"record": replace(RECORD, record_id="correct-me", components=()), "why": BAD}


def _published() -> Publication:
    return Publication(
        BAD, BAD, BAD, "2024-05", BAD, NOW, BAD, Fate.REJECTED, {"jobs": 1}, settled=NOW, receipt="", reason=BAD
    )


def _summary() -> JobSummary:
    metric = MetricSummary(BAD, BAD, Kind.GAUGE, 10, mean=1.5, max=2.0)
    first = int(RECORD.start_time.timestamp()) * 10**9
    return JobSummary(IDENTITY, (BAD,), first, first + 3600 * 10**9, 10, 3600.0, 1800.0, True, (metric,), silent=(BAD,))


def _documents() -> Iterator[Received]:
    queue = {"queue": BAD, "idle": 1, "running": 2, "held": 0, "allocated_cores": 4}
    before = NOW - timedelta(minutes=1)
    yield Received("condorqueue", BAD, before, before, msgspec.json.encode(queue), None, BAD)
    people = msgspec.json.encode({"users": [BAD, LINK]})
    yield Received("ssh", BAD, before, before, people, BAD, users=(BAD, LINK))
    yield Received("jupyter-ml", BAD, NOW, NOW, people, None, users=(BAD,))
    yield Received("CPU", BAD, NOW, NOW, msgspec.json.encode({"load": 1.5}), BAD)


def _samples() -> Iterator[Sample]:
    begin = int(RECORD.start_time.timestamp()) * 10**9
    names = tuple(metric.name for metric in commands.METRICS)
    for step in range(10):
        yield Sample("commands", BAD, IDENTITY, begin + step * 15 * 10**9, names, (step * 100, 5, 1), BAD)
        time_ns = NOW_NS - (10 - step) * 10**9
        yield Sample("procstats", BAD, None, time_ns, ("procstats_loadavg_1min",), (1.5,), "", None, (IDENTITY,))
        yield Sample("network", BAD, None, time_ns, ("network_rx_bytes",), (step,), BAD)
        yield Sample("agent", BAD, None, time_ns, ("agent_cpu",), (step,))
        yield Sample("commands", BAD, IDENTITY, time_ns, names, (2000 + step, 5, 1), BAD)


def _shown_to(accepted: str) -> dict[str, str]:
    return {"authorization": "Bearer all", "accept": accepted, "content-type": "application/json"}


def seen(server: Live, path: str) -> Answer:
    return server.ask("GET", path, headers={**HTML, "authorization": "Bearer all"})


class Markup(HTMLParser):
    """What a browser would make of a page: its elements, its attributes, its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("path", PATHS)
def test_a_name_is_text_and_makes_no_element_attribute_or_address(server: Live, path: str) -> None:
    answer = seen(server, path)
    assert answer.status in (200, 400, 404)
    assert "set-cookie" not in answer.headers
    found = Markup(answer.body.decode())
    for tag, attributes in found.elements:
        assert PLAIN_TAGS.fullmatch(tag)
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "srcdoc", "formaction")]
        if tag in ("script", "img", "link"):
            assert re.fullmatch(r"(\.\./|\./)*assets/[\w.-]+", attributes.get("src") or attributes.get("href") or "")
        for name in ("href", "action", "hx-get", "data-queue", "data-samples", "data-tail"):
            address = urlsplit(attributes.get(name) or "")
            assert (address.scheme, address.netloc) == ("", "")
    assert "<script>alert" not in answer.body.decode()


SHOWN = {
    "/": 3, "/jobs": 2, f"/job/{quote(BAD, safe='')}": 12, "/users": 1, "/nodes": 2, "/queues": 5, "/reports": 8,
    "/health": 9, "/reconciliation": 1, f"/jobs?q={quote(BAD)}": 3,
}  # fmt: skip


@pytest.mark.parametrize("path", SHOWN)
def test_a_name_is_shown_as_it_is_and_not_left_out(server: Live, path: str) -> None:
    texts = Markup(seen(server, path).body.decode()).texts
    assert sum(BAD[:40] in text for text in texts) >= SHOWN[path]


def test_a_page_of_a_name_with_dots_and_slashes_is_its_own(server: Live) -> None:
    link = next(
        attributes["href"] or ""
        for _, attributes in Markup(seen(server, "/users?by=site").body.decode()).elements
        if "sites/" in (attributes.get("href") or "")
    )
    assert link.startswith("./sites/..%2F..%2Fx")
    assert seen(server, link[1:]).status == 200


CSVS = (
    "/v2/records?format=csv", "/v2/records?format=csv&columns=found", "/v2/samples?format=csv&metric=commands_cpu",
    "/v2/totals?group_by=user_id&sum=count&format=csv", "/v2/facility/queues?format=csv",
    "/v2/facility/hosts?format=csv", "/v2/facility/sessions?format=csv",
)  # fmt: skip


@pytest.mark.parametrize("path", CSVS)
def test_no_cell_of_any_file_for_spreadsheets_is_a_formula(server: Live, path: str) -> None:
    answer = server.ask("GET", path, headers=_shown_to("*/*"))
    assert answer.status == 200
    cells = [cell for line in csv.reader(io.StringIO(answer.body.decode())) for cell in line]
    assert f"'{BAD}" in cells
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "@") or re.match(r"-\D", cell)]


def test_what_answers_is_never_guessed_to_be_a_page(server: Live) -> None:
    for path in (*CSVS, "/v2/records", "/v2/dead-letters?limit=10", f"/record/{quote(BAD, safe='')}", "/v2/conflicts"):
        answer = server.ask("GET", path, headers=_shown_to("text/html,*/*"))
        assert answer.status == 200
        assert not answer.headers["content-type"].startswith("text/html")
        assert answer.headers["x-content-type-options"] == "nosniff"
