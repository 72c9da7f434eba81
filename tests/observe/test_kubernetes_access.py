from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobmeter.contract import SourceUnreadable
from jobmeter.observe.host import Host, SystemClock
from jobmeter.observe.kubernetes.access import ACCOUNT, Access, find_access


def config(user: dict[str, Any] | None = None, **cluster: Any) -> dict[str, Any]:
    return {
        "current-context": "here",
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u"}},
            {"name": "bare", "context": {"cluster": "c"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:8001/", **cluster}}],
        "users": [{"name": "u", "user": user or {}}],
    }


def found(folder: Path, value: object, context: str | None = None, **environment: str) -> Access:
    file = folder / "config"
    file.write_text(value if isinstance(value, str) else yaml.safe_dump(value))
    return find_access(str(file), context, Host(Path("/"), SystemClock(), environment))


def test_a_token_is_shown_and_a_context_chosen(tmp_path: Path) -> None:
    access = found(tmp_path, config({"token": "word"}))
    assert (access.address, access.headers()) == ("http://127.0.0.1:8001", {"Authorization": "Bearer word"})
    assert found(tmp_path, config({"token": "word"}), "bare").headers() == {}
    assert "word" not in access.told


@pytest.mark.parametrize(
    ("user", "cluster", "told"),
    [
        ({"exec": {"command": "aws"}}, {}, "an exec plugin (exec), which is not done here; give a token"),
        ({"auth-provider": {"name": "oidc"}}, {}, "an auth provider"),
        ({"username": "a", "password": "b"}, {}, "user name and password"),
        ({"as": "other"}, {}, "impersonation"),
        ({}, {"proxy-url": "http://p"}, "a proxy"),
        ({}, {"tls-server-name": "x"}, "another server name"),
        ({}, {"server": "api:6443"}, "no http:// or https:// address"),
        ({"client-certificate-data": "!"}, {"server": "https://a"}, "client-certificate-data is not base64"),
        ({"client-key-data": ""}, {"server": "https://a", "certificate-authority": "none.crt"}, "cannot be read"),
        ({"client-certificate-data": base64.b64encode(b"x").decode()}, {"server": "https://a"}, "go together"),
        ({}, {"server": "https://a", "certificate-authority-data": base64.b64encode(b"x").decode()}, "do not serve"),
    ],
)
def test_what_is_not_done_or_does_not_serve_is_said(
    tmp_path: Path, user: dict[str, Any], cluster: dict[str, Any], told: str
) -> None:
    with pytest.raises(SourceUnreadable) as fault:
        found(tmp_path, config(user, **cluster))
    assert told in str(fault.value)


@pytest.mark.parametrize("text", ["", "[]", "a: b: c", "current-context: x", "current-context: [1]", "contexts: 7"])
def test_a_file_that_is_no_kubeconfig_is_said(tmp_path: Path, text: str) -> None:
    with pytest.raises(SourceUnreadable):
        found(tmp_path, text)


def test_the_file_is_found_by_setting_environment_home_and_service_account(tmp_path: Path) -> None:
    def by(**environment: str) -> str:
        return find_access(None, None, Host(tmp_path, SystemClock(), environment)).address

    with pytest.raises(SourceUnreadable, match="no kubeconfig"):
        by()
    with pytest.raises(SourceUnreadable, match="several files"):
        by(KUBECONFIG="/a:/b")
    with pytest.raises(SourceUnreadable, match="cannot be read"):
        by(KUBECONFIG="/a")
    (tmp_path / "a").write_text(yaml.safe_dump(config(server="http://by-environment:1")))
    (tmp_path / "root/.kube").mkdir(parents=True)
    (tmp_path / "root/.kube/config").write_text(yaml.safe_dump(config(server="http://by-home:1")))
    account = tmp_path / ACCOUNT.relative_to("/")
    account.mkdir(parents=True)
    (account / "token").write_text("t")
    pod = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    assert by(KUBECONFIG="/a", HOME="/root", **pod) == "http://by-environment:1"
    assert by(HOME="/root", **pod) == "http://by-home:1"
    with pytest.raises(SourceUnreadable, match=r"ca\.crt cannot be read"):
        by(HOME="/nobody", **pod)
