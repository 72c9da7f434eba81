from __future__ import annotations

from pathlib import Path

import pytest

from jobmeter.run.main import main
from jobmeter.run.server.settings import load_settings
from jobmeter.serve.casbin import imported, parse_policy
from jobmeter.serve.policy import policy_of
from tests.serve.test_casbin import MODEL, POLICY


def test_what_is_printed_is_settings_that_grant_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = POLICY + 'p, meta, "site ""x"" \\", ü\ng, "a,b ""\\", monitoring_role\n'
    (tmp_path / "policy.csv").write_text(text)
    (tmp_path / "model.conf").write_text(MODEL)
    code = main(["access", "import", str(tmp_path / "policy.csv"), "--model", str(tmp_path / "model.conf")])
    printed = capsys.readouterr()
    assert (code, printed.err) == (0, "")
    (tmp_path / "server.toml").write_text(printed.out)
    policy = policy_of(load_settings(tmp_path / "server.toml", {}, tmp_path).settings)
    assert policy.required
    assert policy.certificates == imported(parse_policy(text)).grants
    assert 'a,b "\\' in {grant.common_name for grant in policy.certificates}


def test_what_is_not_carried_over_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.csv").write_text(POLICY + "p, x, /record, POST\n")
    assert main(["access", "import", str(tmp_path / "policy.csv")]) == 1
    printed = capsys.readouterr()
    assert "x may do a part of write only" in printed.err
    assert "collector" in printed.out


def test_another_model_or_no_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.csv").write_text(POLICY)
    (tmp_path / "model.conf").write_text(MODEL.replace("keyMatch", "regexMatch"))
    policy, model = str(tmp_path / "policy.csv"), str(tmp_path / "model.conf")
    assert main(["access", "import", policy, "--model", model]) == 2
    assert main(["access", "import", policy, "--model", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().out == ""
