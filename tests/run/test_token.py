from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobmeter.run.main import main
from jobmeter.serve.secret import digest_of
from jobmeter.store.tokens import Tokens


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["token", *words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_token_is_shown_once_and_only_its_digest_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ("--data", str(tmp_path))
    words = (
        "--role",
        "write",
        "--site",
        "A",
        "--record-prefix",
        "a-",
        "--meta",
        "vo=x",
        "--meta",
        "vo=y",
        "--note",
        "n",
    )
    code, out, err = run(capsys, "create", "collector", *words, *data)
    secret = out.strip()
    assert code == 0
    assert secret.startswith("jobmeter_")
    assert "token 1 (collector)" in err
    code, out, err = run(capsys, "list", *data)
    assert (code, err) == (0, "")
    assert secret not in out
    assert "write site=A record-prefix=a- meta vo=x meta vo=y  # n" in out
    assert secret.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    tokens = Tokens(f"sqlite:///{tmp_path}/records.db")
    found = tokens.find(digest_of(secret))
    tokens.close()
    assert found is not None
    assert found.expires is not None
    assert (found.expires - found.created).days == 365


def test_a_token_is_listed_as_json_and_revoked(database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    where = ("--database", database_url)
    assert run(capsys, "create", "x", "--role", "monitor", "--for-ever", *where)[0] == 0
    (listed,) = json.loads(run(capsys, "list", "--json", *where)[1])
    assert listed["good"]
    assert listed["expires"] is None
    assert run(capsys, "revoke", str(listed["number"]), *where)[:2] == (0, f"revoked: token {listed['number']} (x)\n")
    assert not json.loads(run(capsys, "list", "--json", *where)[1])[0]["good"]
    assert run(capsys, "revoke", "99", *where)[0] == 2


@pytest.mark.parametrize(
    "words",
    [
        ("--role", "read", "--record-prefix", "a"),
        ("--role", "monitor", "--site", "A"),
        ("--role", "read", "--meta", "x"),
        ("--role", "read", "--days", "0"),
        ("--role", "read", "--days", "3", "--for-ever"),
        ("--role", "owner"),
        (),
    ],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    code, out, err = run(capsys, "create", "x", *words, "--data", str(tmp_path))
    assert (code, out) == (2, "")
    assert err


def test_a_database_without_tables_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "list", "--data", str(tmp_path))
    assert code == 2
    assert "jobmeter migrate" in err
