"""Our client library against a real server: what is written is read back, and every refusal has its own error."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from jobmeter.client import (
    Access,
    AsyncClient,
    Client,
    Component,
    ConflictError,
    InvalidError,
    NotFoundError,
    Query,
    QueuedClient,
    Record,
    Score,
    ServerAwayError,
)
from tests.clients.server import LiveServer, live
from tests.process import PATIENCE_SECONDS, free_port

START = datetime(2024, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def client(server: LiveServer) -> Iterator[Client]:
    with Client(server.url) as made:
        yield made


def made(name: str = "job", site: str = "A", *, running: bool = False, cores: int = 8) -> Record:
    return Record(
        record_id=f"{name}-{uuid4().hex}",
        components=(Component("Cores", cores, (Score("HEPSPEC", 1.05e-8),)),),
        start_time=START,
        meta={"site_id": (site,), 'ugly "key" &=[]+#': ("a b", "ü/%")},
        stop_time=None if running else START + HOUR,
    )


def test_both_clients_ask_how_it_was(client: Client, server: LiveServer) -> None:
    record = made(running=True)
    client.add(record)
    then = datetime.now(UTC)
    client.stop(record.record_id, START + HOUR)
    assert client.get(record.record_id, as_of=then) == record
    assert client.get(record.record_id).stop_time == START + HOUR
    query = Query().record_id(record.record_id)
    assert list(client.records(query.as_of(then))) == [record]
    assert client.page(query.as_of(then)).records == (record,)
    assert client.totals(query.as_of(then), sums=["runtime"]).groups[0].values == [None]
    assert client.totals(query, sums=["runtime"]).groups[0].values == [3600]
    with pytest.raises(NotFoundError):
        client.get(record.record_id, as_of=START)
    with pytest.raises(InvalidError, match="lies in the future"):
        client.page(query.as_of(then + 24 * HOUR))

    async def awaited() -> Record:
        async with AsyncClient(server.url) as other:
            return await other.get(record.record_id, as_of=then)

    assert asyncio.run(awaited()) == record


def test_a_record_is_read_back_as_it_was(client: Client) -> None:
    record = made("a/b ?#%..&=[x]\n")
    assert client.add(record).outcome == "new"
    assert client.add(record).outcome == "same"
    assert client.get(record.record_id) == record
    assert list(client.records(Query().record_id(record.record_id))) == [record]


def test_refusals_have_errors_of_their_own(client: Client) -> None:
    record = made()
    client.add(record)
    other = Record(record.record_id, (), START)
    with pytest.raises(ConflictError) as conflict:
        client.add(other)
    assert (conflict.value.status, conflict.value.field) == (409, "record_id")
    with pytest.raises(InvalidError, match="NUL"):
        client.add(Record("a\0b", (), START))
    with pytest.raises(NotFoundError):
        client.get("there is none")
    with pytest.raises(NotFoundError):
        client.stop("there is none", START)
    with pytest.raises(InvalidError, match="foo"):
        list(client.records("foo=1"))


def test_every_record_of_many_has_its_outcome(client: Client) -> None:
    site = f"many-{uuid4().hex}"
    records = [made(f"{number:04}", site) for number in range(2500)]
    records[1200] = Record("bad\0", (), START)
    outcomes = client.add_many(iter(records))
    assert [one.record_id for one in outcomes] == [record.record_id for record in records]
    assert [at for at, one in enumerate(outcomes) if not one.stored] == [1200]
    assert outcomes[1200].outcome == "invalid"
    found = list(client.records(Query().meta("site_id", contains=[site])))
    assert found == records[:1200] + records[1201:]


def test_pages_hold_everything_once(client: Client) -> None:
    site = f"pages-{uuid4().hex}"
    records = [made(f"{number:02}", site) for number in range(25)]
    client.add_many(records)
    query = Query().meta("site_id", contains=[site])
    pages = list(client.pages(query, size=10))
    assert [len(page.records) for page in pages] == [10, 10, 5]
    assert [record for page in pages for record in page.records] == records
    assert client.page(query, 10, pages[0].next) == pages[1]


def test_a_query_says_what_it_means(client: Client) -> None:
    site = f"query-{uuid4().hex}"
    long, running, small = made("long", site), made("running", site, running=True), made("small", site, cores=1)
    client.add_many([long, running, small])
    here = Query().meta("site_id", contains=[site])

    def ids(query: Query) -> set[str]:
        return {record.record_id.partition("-")[0] for record in client.records(query)}

    assert ids(here) == {"long", "running", "small"}
    assert ids(here.stopped(since=START + HOUR, before=START + 2 * HOUR)) == {"long", "small"}
    assert ids(here.stopped(before=START + HOUR)) == set()
    assert ids(here.started(since=START)) == {"long", "running", "small"}
    assert ids(here.component("Cores", at_least=2)) == {"long", "running"}
    assert ids(here.runtime(at_least=3600, at_most=3600)) == {"long", "small"}
    assert ids(here.meta('ugly "key" &=[]+#', contains=["a b", "ü/%"])) == {"long", "running", "small"}
    assert ids(here.meta('ugly "key" &=[]+#', lacks=["a b"])) == set()
    assert len(list(client.records(here.order_by("record_id", descending=True).limit(2)))) == 2


def test_totals_are_worked_out_by_the_server(client: Client) -> None:
    site = f"totals-{uuid4().hex}"
    client.add_many([made("a", site, cores=8), made("b", site, cores=4)])
    here = Query().meta("site_id", contains=[site])
    found = client.totals(here, group_by=["site_id", "month"], sums=["Cores*runtime", "Cores"])
    (group,) = found.groups
    assert group.key == [site, "2024-03"]
    assert group.values == [12 * 3600, 12]
    assert client.totals(here).groups[0].values == [2]


def test_a_query_refuses_what_cannot_be_meant() -> None:
    with pytest.raises(TypeError):
        Query().meta("site", contains="A")
    with pytest.raises(ValueError, match="zone"):
        Query().stopped(since=datetime(2024, 1, 1))  # noqa: DTZ001 - that is the point
    with pytest.raises(ValueError, match="blank"):
        Query().record_id(" ")
    with pytest.raises(ValueError, match="share"):
        str(Query().runtime(at_least=1).runtime(at_least=2))


def test_a_running_job_is_stopped(client: Client) -> None:
    record = made(running=True)
    client.add(record)
    client.stop(record.record_id, START + HOUR)
    assert client.get(record.record_id).runtime_seconds == 3600


def test_health_and_dead_letters(client: Client) -> None:
    assert client.is_healthy()
    with pytest.raises(InvalidError):
        client.add(Record("letter\0", (), START))
    assert "letter" in str(client.dead_letters(1)[0].body)


def test_a_server_that_is_away_is_told() -> None:
    with Client(Access(address=f"http://127.0.0.1:{free_port()}", attempts=2, longest_wait_seconds=0.01)) as client:
        assert not client.is_healthy()
        with pytest.raises(ServerAwayError):
            client.add(made())
        with pytest.raises(ServerAwayError):
            list(client.records())


def test_the_client_that_is_awaited_does_the_same(server: LiveServer) -> None:
    async def work() -> None:
        site = f"async-{uuid4().hex}"
        records = [made(f"{number:04}", site) for number in range(1500)]
        async with AsyncClient(server.url) as client:
            assert await client.is_healthy()
            outcomes = await client.add_many([*records, Record("bad\0", (), START)])
            assert [one.outcome for one in outcomes] == ["new"] * 1500 + ["invalid"]
            query = Query().meta("site_id", contains=[site])
            assert [record async for record in client.records(query)] == records
            assert [len(page.records) async for page in client.pages(query, size=1000)] == [1000, 500]
            assert (await client.add(records[0])).outcome == "same"
            assert await client.get(records[0].record_id) == records[0]
            running = made(running=True)
            await client.add(running)
            await client.stop(running.record_id, START + HOUR)
            with pytest.raises(ConflictError):
                await client.add(running.__class__(running.record_id, (), START))
            with pytest.raises(NotFoundError):
                await client.get("there is none")
            assert await client.dead_letters(1)

    asyncio.run(work())


def test_a_queue_delivers_what_was_written_while_the_server_was_away(tmp_path: Path) -> None:
    with live(tmp_path) as server:
        server.stop()
        access = Access(address=server.url, longest_wait_seconds=0.2)
        record, bad = made(running=True), Record("bad\0", (), START)
        with QueuedClient(access, tmp_path / "queue") as client:
            client.add(record)
            client.stop(record.record_id, START + HOUR)
            assert not client.flush(0.3)
            assert client.status().entries == 2
        server.start()
        with QueuedClient(access, tmp_path / "queue") as client:
            client.add_many([bad, *(made() for _ in range(1200))])
            client.stop("there is none", START)
            assert client.flush(PATIENCE_SECONDS)
            assert client.get(record.record_id).stop_time == START + HOUR
            assert len(list(client.records())) == 1201
            reasons = [letter.reason for letter in client.dead_letters()]
            assert len(reasons) == 2
            assert any("NUL" in reason for reason in reasons)
            assert any("404" in reason for reason in reasons)
