"""`jobmeter records` against a scripted server over real sockets."""

from __future__ import annotations

import argparse
import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from jobmeter.run.commands.records import declare, execute
from tests.sinks.scripted import Request, ScriptedServer, Step, answer

SOURCE = Path(__file__).parents[2] / "src"
HOSTILE = "\x1b]0;owned\x07 \u202e"


def line(name: str, **more: object) -> str:
    record = {
        "record_id": name,
        "meta": {"site_id": ["north"], "user_id": ["ada"]},
        "components": [{"name": "Cores", "amount": 8, "scores": []}],
        "start_time": "2024-03-01T10:00:00Z",
        "stop_time": "2024-03-01T11:00:00Z",
        "runtime": 3600,
    }
    return json.dumps({**record, **more}, ensure_ascii=False)


def chunked(*pieces: str, ended: bool = True) -> Step:
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece.encode()), piece.encode()) for piece in pieces)
    end = b"0\r\n\r\n" if ended else b""
    return Step(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + end, close=True)


def run(server: ScriptedServer, *words: str) -> int:
    parser = argparse.ArgumentParser(exit_on_error=False)
    declare(parser)
    return execute(parser.parse_args([words[0], "--server", server.address, "--timeout", "10", *words[1:]]))


def outcome(step: Step, *words: str) -> tuple[int, list[Request]]:
    with ScriptedServer([step]) as server:
        return run(server, *words), server.requests


def test_list_prints_a_table_of_the_newest(capsys: pytest.CaptureFixture[str]) -> None:
    code, [request] = outcome(chunked(f"{line('a')}\n{line('b')}\n"), "list", "--site", "north")
    assert code == 0
    assert request.path == "/records?meta[site_id][c][0]=north&sort_by[desc]=stop_time&limit=50"
    heads, first, second = capsys.readouterr().out.splitlines()
    assert heads.split() == ["RECORD", "SITE", "USER", "GROUP", "START", "STOP", "SECONDS", "COMPONENTS"]
    assert first == "a       north  ada   -      2024-03-01 10:00:00  2024-03-01 11:00:00  3600     Cores=8"
    assert second.startswith("b ")


def test_records_of_an_auditor_server_stand_back_to_back(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(chunked(line("a"), line("b")), "list", "--json")[0] == 0
    assert [json.loads(text)["record_id"] for text in capsys.readouterr().out.splitlines()] == ["a", "b"]


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["show", "x"], ["export"]])
def test_a_hostile_name_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    record = line(HOSTILE, meta={HOSTILE: [HOSTILE]}, components=[{"name": HOSTILE, "amount": 1, "scores": []}])
    assert outcome(chunked(record), *words)[0] == 0
    assert all(text.isprintable() for text in capsys.readouterr().out.splitlines())


@pytest.mark.parametrize("words", [["list"], ["list", "--json"], ["show", "a"], ["export"], ["export", "--csv"]])
@pytest.mark.parametrize(
    "step",
    [
        chunked(f"{line('a')}\n", ended=False),
        chunked(f"{line('a')}\n", line("b")[:30]),
        chunked(f"{line('a')}\n", "]"),
        Step(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + line("a").encode(), close=True),
        Step(b"HTTP/1.1 200 OK\r\n\r\n" + line("a").encode(), close=True),
    ],
)
def test_an_answer_that_breaks_off_is_told_and_fails(
    capsys: pytest.CaptureFixture[str], step: Step, words: list[str]
) -> None:
    assert outcome(step, *words)[0] == 1
    assert "is not all" in capsys.readouterr().err


def test_a_file_appears_only_when_the_export_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("the old one")
    assert outcome(chunked(line("a"), ended=False), "export", "--output", str(target))[0] == 1
    assert target.read_text() == "the old one"
    assert outcome(chunked(line("a"), line("ü")), "export", "--output", str(target))[0] == 0
    assert target.read_text(encoding="utf-8") == f"{line('a')}\n{line('ü')}\n"
    assert [file.name for file in tmp_path.iterdir()] == ["out.jsonl"]


def test_export_as_csv_takes_columns(capsys: pytest.CaptureFixture[str]) -> None:
    code, [request] = outcome(
        chunked(line("=a")), "export", "--csv", "--columns", "record_id,meta.user_id,component.Cores,runtime"
    )
    assert code == 0
    assert request.path == "/records"
    assert capsys.readouterr().out == "record_id,meta.user_id,component.Cores,runtime\r\n'=a,ada,8,3600\r\n"


def test_no_records_are_an_empty_export(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(answer(200), "export")[0] == 0
    assert capsys.readouterr().out == ""


def test_a_record_over_several_lines_is_exported_on_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(chunked('{"record_id":\n "a"}'), "export")[0] == 0
    assert capsys.readouterr().out == '{"record_id": "a"}\n'


def test_show_prints_one_record_and_fails_without(capsys: pytest.CaptureFixture[str]) -> None:
    code, [request] = outcome(chunked(line("a/b")), "show", "a/b")
    assert (code, request.path) == (0, "/records?record_id=a%2Fb")
    assert "record_id   a/b" in capsys.readouterr().out
    assert outcome(answer(200), "show", "no\x1bsuch")[0] == 1
    assert capsys.readouterr().err == "jobmeter records: there is no record no\\x1bsuch\n"


@pytest.mark.parametrize(("status", "code"), [(400, 2), (403, 1), (500, 1), (503, 1), (302, 1)])
def test_a_no_of_the_server_is_told_with_its_reason(capsys: pytest.CaptureFixture[str], status: int, code: int) -> None:
    assert outcome(answer(status, b'{"error":"unknown field `x`\\u001b"}'), "list", "--query", "x=1")[0] == code
    assert f"status {status}: unknown field `x`\\x1b" in capsys.readouterr().err


def test_a_server_that_is_not_there_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with ScriptedServer([]) as server:
        pass
    assert run(server, "list") == 1
    assert "refused" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["list", "--server", "nowhere"], ["list", "--timeout", "0"], ["list", "--key", "x"], ["add", "missing.json"]],
)
def test_wrong_use_ends_with_2(words: list[str], tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    declare(parser)
    assert execute(parser.parse_args(words)) == 2


def test_a_raw_query_beside_conditions_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(answer(200), "list", "--query", "limit=1", "--site", "x")[0] == 2


def judged(request: Request) -> Step:
    ids = [record.get("record_id") for record in json.loads(request.body)]
    told = {
        "bad": {"outcome": "invalid", "field": "meta", "reason": "is \x1b blank"},
        "other": {"outcome": "conflict", "field": "stop_time", "reason": "differs"},
        "again": {"outcome": "same"},
    }
    return answer(200, json.dumps({"outcomes": [told.get(name, {"outcome": "new"}) for name in ids]}).encode())


@pytest.mark.parametrize("form", ["lines", "array", "back to back"])
def test_add_tells_the_outcome_of_each_record(capsys: pytest.CaptureFixture[str], tmp_path: Path, form: str) -> None:
    records = [line(name) for name in ("a", "bad", "again", "other")]
    file = tmp_path / "records.json"
    joined = {"lines": "\n".join(records), "array": f"[{','.join(records)}]", "back to back": "".join(records)}
    file.write_text(joined[form], encoding="utf-8")
    with ScriptedServer(judged) as server:
        assert run(server, "add", str(file)) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "accepted  a",
        "refused   bad  meta: is \\x1b blank",
        "accepted  again",
        "refused   other  conflict: stop_time: differs",
    ]
    assert captured.err == "2 of 4 records accepted: 1 new, 1 with equal content before\n"


def test_add_succeeds_when_all_were_taken(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "records.json"
    file.write_text(line("a"), encoding="utf-8")
    with ScriptedServer(judged) as server:
        assert run(server, "add", str(file), "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"record_id": "a", "outcome": "accepted", "reason": ""}


def test_add_fails_and_says_kept_when_the_server_cannot_take_now(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "records.json"
    file.write_text(line("a"), encoding="utf-8")
    assert outcome(answer(503, b"away"), "add", str(file))[0] == 1
    assert capsys.readouterr().out == "kept      a  status 503: away\n"


@pytest.mark.parametrize("text", ["[{]", '{"a":1', '{"record_id":"a"}\nnonsense'])
def test_add_sends_nothing_of_a_malformed_file(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str) -> None:
    file = tmp_path / "records.json"
    file.write_text(text)
    code, requests = outcome(answer(200), "add", str(file))
    assert (code, requests) == (1, [])
    assert "nothing was sent" in capsys.readouterr().err


def test_stop_sets_the_stop_time() -> None:
    code, [request] = outcome(answer(200), "stop", "a", "2024-03-01T12:00:00")
    assert (code, request.method, request.path) == (0, "PUT", "/record")
    assert json.loads(request.body) == {"record_id": "a", "components": [], "stop_time": "2024-03-01T12:00:00+00:00"}
    assert outcome(answer(404, b"Updating unknown record"), "stop", "a", "2024-03-01")[0] == 1


def test_dead_letters_are_a_table_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    letters = [
        {"number": 7, "origin": "127.0.0.1", "reason": HOSTILE, "received": "2024-03-01T12:00:00Z", "size_bytes": 3}
        | {"body": '{"x\n', "body_base64": None, "cut": False}
    ]
    code, [request] = outcome(answer(200, json.dumps(letters).encode()), "dead-letters", "--limit", "5")
    assert (code, request.path) == (0, "/v2/dead-letters?limit=5")
    heads, row = capsys.readouterr().out.splitlines()
    assert heads.split()[0] == "NUMBER"
    assert row.startswith("7 ") and row.isprintable() and row.endswith('{"x\\n')
    assert outcome(answer(200, json.dumps(letters).encode()), "dead-letters", "--json")[0] == 0
    assert json.loads(capsys.readouterr().out) == letters[0]


@pytest.mark.parametrize("step", [answer(200, b"{}"), answer(200, b"nonsense"), answer(404, b"")])
def test_dead_letters_that_are_none_fail(step: Step) -> None:
    assert outcome(step, "dead-letters")[0] == 1


PROGRAM = (
    "import argparse, sys; from jobmeter.run.commands.records import declare, execute;"
    "parser = argparse.ArgumentParser();"
    "declare(parser); sys.exit(execute(parser.parse_args()))"
)


def test_the_server_comes_from_the_environment_and_progress_goes_to_a_terminal_only() -> None:
    with ScriptedServer([chunked(line("a"), line("b"))] * 2) as server:
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), "JOBMETER_SERVER": server.address}
        command = [sys.executable, "-c", PROGRAM, "export"]
        quiet = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert (quiet.stdout.count("\n"), quiet.stderr) == (2, "")
        leader, follower = pty.openpty()
        watched = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=follower, check=True)
        assert watched.stdout.decode() == quiet.stdout
        assert select.select([leader], [], [], 10)[0]
        assert b"2 records" in os.read(leader, 1000)
        os.close(leader)
        os.close(follower)


def test_csv_on_a_terminal_is_made_visible() -> None:
    with ScriptedServer([chunked(line(HOSTILE))]) as server:
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), "JOBMETER_SERVER": server.address}
        leader, follower = pty.openpty()
        command = [sys.executable, "-c", PROGRAM, "export", "--csv", "--columns", "record_id"]
        subprocess.run(command, env=environment, stdout=follower, stderr=subprocess.DEVNULL, check=True)
        shown = os.read(leader, 1000)
        os.close(leader)
        os.close(follower)
    assert b"\x1b" not in shown
    assert b"\\x1b]0;owned" in shown


def test_a_terminal_without_unicode_shows_escapes() -> None:
    with ScriptedServer([chunked(line("\u00fc"))]) as server:
        environment = {**os.environ, "PYTHONPATH": str(SOURCE), "JOBMETER_SERVER": server.address}
        environment |= {"PYTHONIOENCODING": "ascii:strict"}
        command = [sys.executable, "-c", PROGRAM, "list"]
        shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "\\xfc" in shown.stdout


def test_no_server_library_is_imported() -> None:
    told = "import sys, jobmeter.run.commands.records; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    found = subprocess.run([sys.executable, "-c", told], env=environment, capture_output=True, text=True, check=True)
    assert not {"starlette", "uvicorn", "sqlalchemy", "msgspec", "yaml", "rich"} & set(found.stdout.split())


def test_export_parquet_keeps_the_file_that_the_server_made(tmp_path: Path) -> None:
    target = tmp_path / "records.parquet"
    content = b"PAR1\x00\xff\r\nPAR1"
    code, [request] = outcome(answer(200, content), "export", "--parquet", "--site", "north", "--output", str(target))
    assert code == 0
    assert request.path == "/v2/records?meta[site_id][c][0]=north"
    assert request.headers["accept"] == "application/vnd.apache.parquet"
    assert target.read_bytes() == content


def test_export_parquet_to_a_terminal_is_wrong_use() -> None:
    with ScriptedServer([]) as server:
        assert run(server, "export", "--parquet") == 2


def test_a_parquet_file_that_broke_off_never_appears(tmp_path: Path) -> None:
    target = tmp_path / "records.parquet"
    step = Step(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nPAR1", close=True)
    assert outcome(step, "export", "--parquet", "--output", str(target))[0] == 1
    assert list(tmp_path.iterdir()) == []
