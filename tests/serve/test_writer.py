"""The writer by itself."""

from __future__ import annotations

import asyncio
import json

import pytest

from jobmeter.contract import StoreUnavailable
from jobmeter.model.outcome import Stored
from jobmeter.model.record import Record
from jobmeter.serve import writer as module
from jobmeter.serve.meter import Meter
from jobmeter.serve.settings import Limits
from jobmeter.serve.writer import Writer
from jobmeter.wire.auditor import decode_record
from tests.process import PATIENCE_SECONDS
from tests.serve.live import record
from tests.serve.memory import MemoryStore


def made(*names: str) -> list[Record]:
    return [decode_record(json.dumps(record(name)).encode()) for name in names]


def test_a_group_holds_no_more_than_its_bound(store: MemoryStore) -> None:
    async def scenario() -> None:
        writer = Writer(store, Limits(group_records=4), Meter())
        running = asyncio.create_task(writer.run())
        await asyncio.sleep(0)
        await asyncio.gather(*(writer.put(made(f"a{number}", f"b{number}")) for number in range(5)))
        writer.close()
        await running

    asyncio.run(scenario())
    assert store.groups == [4, 4, 2]


def test_writes_wait_for_room_and_are_given_up_when_none_comes(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROOM_SECONDS", 0.2)
    store.gate.clear()

    async def scenario() -> list[object]:
        writer = Writer(store, Limits(waiting_records=2), Meter())
        running = asyncio.create_task(writer.run())
        await asyncio.sleep(0)
        first = asyncio.create_task(writer.put(made("in progress")))
        await asyncio.sleep(0.05)
        waiting = [asyncio.create_task(writer.put(made(f"w{number}"))) for number in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable, match="too many"):
            await writer.put(made("too much"))
        monkeypatch.setattr(module, "ROOM_SECONDS", PATIENCE_SECONDS)
        late = asyncio.create_task(writer.put(made("late")))
        await asyncio.sleep(0.05)
        store.gate.set()
        answers: list[object] = list(await asyncio.gather(first, *waiting, late))
        writer.close()
        await running
        return answers

    assert asyncio.run(scenario()) == [[Stored.NEW]] * 4


def test_a_closed_writer_writes_what_waits_and_takes_no_more(store: MemoryStore) -> None:
    async def scenario() -> None:
        writer = Writer(store, Limits(), Meter())
        running = asyncio.create_task(writer.run())
        await asyncio.sleep(0)
        waiting = asyncio.create_task(writer.put(made("a")))
        await asyncio.sleep(0)
        writer.close()
        assert await waiting == [Stored.NEW]
        await running
        with pytest.raises(StoreUnavailable):
            await writer.put(made("b"))

    asyncio.run(scenario())


def test_a_store_that_fails_on_everything_is_not_asked_for_every_write(store: MemoryStore) -> None:
    store.gate.clear()
    store.poison = "x"

    async def scenario() -> list[object]:
        writer = Writer(store, Limits(), Meter())
        running = asyncio.create_task(writer.run())
        await asyncio.sleep(0)
        first = asyncio.create_task(writer.put(made("first")))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(writer.put(made("x"))) for _ in range(10)]
        await asyncio.sleep(0)
        store.gate.set()
        await first
        answers = list(await asyncio.gather(*others, return_exceptions=True))
        writer.close()
        await running
        return list(answers)

    answers = asyncio.run(scenario())
    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    assert sum("of this group" in str(answer) for answer in answers) == 10 - module.FAILURES_MAX
