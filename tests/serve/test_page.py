from __future__ import annotations

from jobmeter.serve.page import page
from tests.serve.live import Live, record
from tests.serve.memory import MemoryStore


def test_the_page_lists_the_interface_and_brings_no_script(server: Live) -> None:
    server.post("/record", record())
    answer = server.ask("GET", "/")
    assert answer.status == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    shown = answer.body.decode()
    assert "1 record stored." in shown
    assert "/v2/dead-letters" in shown
    assert "<script" not in shown


def test_the_page_is_there_while_the_database_is_away(server: Live, store: MemoryStore) -> None:
    store.away = True
    answer = server.ask("GET", "/")
    assert answer.status == 200
    assert b"does not answer" in answer.body


def test_text_is_escaped() -> None:
    assert "&lt;b&gt;" in page("<b>")
