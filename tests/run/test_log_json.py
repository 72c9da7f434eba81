from __future__ import annotations

import json
import logging
import sys

from jobmeter.run.log_json import JsonLines


def line(message: object, *values: object, **more: object) -> dict[str, object]:
    record = logging.LogRecord("jobmeter.serve", logging.WARNING, __file__, 1, message, values, None)
    for key, value in more.items():
        setattr(record, key, value)
    made = JsonLines().format(record)
    assert "\n" not in made
    found: dict[str, object] = json.loads(made)
    return found


def test_an_event_is_one_object_with_its_values_under_their_keys() -> None:
    found = line("door.refused status=%d path=%r seconds=%.1f open=%s", 403, '/a"\nb', 1.25, True)
    assert found["event"] == "door.refused"
    assert (found["status"], found["path"], found["seconds"], found["open"]) == (403, '/a"\nb', 1.25, True)
    assert found["message"] == "door.refused status=403 path='/a\"\\nb' seconds=1.2 open=True"
    assert (found["level"], found["logger"]) == ("WARNING", "jobmeter.serve")
    assert str(found["time"]).endswith("Z")


def test_a_value_never_takes_the_place_of_what_every_line_has() -> None:
    assert line("a.b level=%s time=%s", "x", "y")["level"] == "WARNING"


def test_other_messages_stay_whole() -> None:
    assert line("100 %% of %s", "it")["message"] == "100 % of it"
    assert line({"a": 1})["message"] == "{'a': 1}"
    assert line("nothing to say")["message"] == "nothing to say"


def test_a_trace_stands_in_the_same_line() -> None:
    try:
        int("no")
    except ValueError:
        found = line("a.failed", exc_info=sys.exc_info())
    assert "ValueError: invalid literal" in str(found["trace"])
