from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

_PROGRAM = """
import logging, sys
from jobmeter.run.log import start_logging
start_logging("debug", as_json="json" in sys.argv)
log = logging.getLogger("jobmeter.serve")
log.debug("a.looked")
log.info("a.done count=%d", 3)
log.warning("a.slow")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("a.fell")
"""


def said(*words: str, by_journal: bool = True) -> list[str]:
    """What a program logs into a pipe of which the environment says that the journal reads it."""
    reading, writing = os.pipe()
    found = os.fstat(writing)
    told = f"{found.st_dev}:{found.st_ino}" if by_journal else "1:1"
    with os.fdopen(writing, "wb") as pipe:
        words = (sys.executable, "-c", _PROGRAM, *words)
        subprocess.run(words, stderr=pipe, env={**os.environ, "JOURNAL_STREAM": told}, check=True)
    with os.fdopen(reading, encoding="utf-8") as stream:
        return stream.read().splitlines()


def test_below_systemd_every_line_has_its_priority_and_no_time() -> None:
    lines = said()
    assert lines[:4] == [
        "<7>jobmeter.serve a.looked",
        "<6>jobmeter.serve a.done count=3",
        "<4>jobmeter.serve a.slow",
        "<3>jobmeter.serve a.fell",
    ]
    assert lines[-1] == "<3>ZeroDivisionError: division by zero"
    assert all(line.startswith("<3>") for line in lines[4:])


def test_json_below_systemd_has_its_priority_before_the_object() -> None:
    lines = said("json")
    assert [line[:3] for line in lines] == ["<7>", "<6>", "<4>", "<3>"]
    assert json.loads(lines[1][3:])["count"] == 3


@pytest.mark.parametrize("words", [(), ("json",)])
def test_what_is_sent_elsewhere_than_to_the_journal_is_as_everywhere(words: tuple[str, ...]) -> None:
    assert not any(line.startswith("<") for line in said(*words, by_journal=False))
