"""Users of notebooks, by a scripted Kubernetes API, a scripted JupyterHub, and jobs of HTCondor."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobmeter.contract import DocumentBatch
from jobmeter.observe.facility.jupyter import Hub, Settings, open_section
from jobmeter.observe.notebooks import pods
from jobmeter.settings.fault import WrongValue
from tests.observe.facility_host import Machine
from tests.observe.kubernetes_pods import ago, pod
from tests.observe.kubernetes_server import ApiServer, api_server, status
from tests.observe.test_kubernetes_access import config
from tests.sinks.scripted import Request, ScriptedServer, Step, answer


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with api_server() as server:
        yield server


@pytest.fixture
def machine(api: ApiServer, tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.file("/etc/kube.conf", yaml.safe_dump(config({"token": "t"}, server=api.address)))
    return made


def notebook(api: ApiServer, name: str, user: str, phase: str = "Running", **more: Any) -> None:
    namespace, label = more.pop("namespace", "af-jupyter"), more.pop("label", "owner")
    metadata = {"labels": {label: user}, **more}
    api.put(pod(name, phase, namespace=namespace, metadata=metadata))


def read(machine: Machine, **settings: Any) -> list[DocumentBatch]:
    section = open_section(Settings(kubeconfig="/etc/kube.conf", timeout_seconds=5, **settings), machine.host)
    return list(section.read(None))


def users(batches: list[DocumentBatch]) -> dict[str, Any]:
    return {document.kind: document.body["users"] for batch in batches for document in batch.documents}


def unreadable(batches: list[DocumentBatch]) -> list[str]:
    return [reason for batch in batches for reason in batch.unreadable]


def test_live_pods_name_their_users_each_once(api: ApiServer, machine: Machine) -> None:
    notebook(api, "a", "alice")
    notebook(api, "b", "alice")
    notebook(api, "c", "bob", "Pending")
    notebook(api, "d", "done", "Succeeded")
    notebook(api, "e", "failed", "Failed")
    notebook(api, "f", "leaving", deletionTimestamp=ago(1))
    notebook(api, "g", "carol", namespace="coffea-casa", label="jhub_user")
    batches = read(machine)
    assert users(batches) == {"jupyter-ml": ["alice", "bob"], "jupyter-coffea": ["carol"]}
    bodies = [document.body for batch in batches for document in batch.documents]
    assert bodies[0] == {"jupyter_user_count": 2, "users": ["alice", "bob"]}
    asked = [query for _, query in api.requests]
    assert [(query["namespace"], query["labelSelector"]) for query in asked] == [
        ("af-jupyter", "owner"), ("coffea-casa", "jhub_user"),
    ]  # fmt: skip
    assert users(read(machine, ended_too=True))["jupyter-ml"] == ["alice", "bob", "done", "failed", "leaving"]


def test_pages_are_read_to_the_end_and_begun_anew_when_they_are_too_old(
    api: ApiServer, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods, "_PAGE_PODS", 2)
    for number in range(5):
        notebook(api, f"p{number}", f"u{number}")
    api.pages_gone = 1
    assert users(read(machine, coffea=False))["jupyter-ml"] == [f"u{number}" for number in range(5)]
    assert api.count("list") == 5  # two of the list that was given up, three of the whole one
    api.pages_gone = 3
    assert "410" in unreadable(read(machine, coffea=False))[0]


def test_a_namespace_that_is_denied_keeps_the_other(api: ApiServer, machine: Machine) -> None:
    notebook(api, "a", "alice")
    api.denied.add("coffea-casa")
    batches = read(machine)
    assert users(batches) == {"jupyter-ml": ["alice"]}
    assert "forbidden" in unreadable(batches)[0]


@pytest.mark.parametrize("broken", [(500, b"oops"), (200, b"{}"), (200, b"<html>"), (401, status(401, "x"))])
def test_an_answer_that_is_no_list_is_no_empty_cluster(
    api: ApiServer, machine: Machine, broken: tuple[int, bytes]
) -> None:
    api.lists.append(broken)
    batches = read(machine, coffea=False)
    assert users(batches) == {}
    assert len(unreadable(batches)) == 1


def _hub(request: Request) -> Step:
    if request.headers["authorization"] != "token secret":
        return answer(403, b"{}")
    assert request.headers["accept"] == "application/jupyterhub-pagination+json"
    first = "offset=0" in request.path
    names = ["ann", "ben"] if first else ["cyd"]
    more = {"offset": 2, "limit": 2, "url": "x"} if first else None
    page = {"items": [{"name": name, "kind": "user"} for name in names], "_pagination": {"offset": 0, "next": more}}
    return answer(200, json.dumps(page).encode())


def test_a_hub_names_its_active_users_on_all_pages(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    token = machine.file("/etc/hub.token", "secret\n")
    with ScriptedServer(_hub) as server:
        hub = Hub(f"{server.address}/hub/api", "/etc/hub.token")
        assert users(read(machine, source="jupyterhub", hub=hub)) == {"jupyter-ml": ["ann", "ben", "cyd"]}
        assert server.requests[0].path == "/hub/api/users?state=active&offset=0&limit=200"
        token.write_text("wrong")
        batches = read(machine, source="jupyterhub", hub=hub)
    assert users(batches) == {}
    assert "status 403" in unreadable(batches)[0]


def test_notebooks_that_are_jobs_are_told_by_their_expression(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    script = machine.bin / "condor_q"
    script.write_text(
        "#!/usr/bin/python3\nimport sys\nasked = sys.argv[sys.argv.index('-af:V') + 1:]\n"
        "marks, names = asked[::2], asked[1::2]\n"
        "for number, (owner, status, is_notebook) in enumerate("
        "[('alice', 2, 'true'), ('bob', 1, 'true'), ('carol', 2, 'undefined'), ('alice', 2, 'true')]):\n"
        "    known = {'Owner': '\"' + owner + '\"', 'ClusterId': number, 'ProcId': 0, 'JobStatus': status}\n"
        "    print(*(f'{mark} {known.get(name, is_notebook if name[0] == chr(40) else \"undefined\")}'"
        " for mark, name in zip(marks, names)))\n"
    )
    script.chmod(0o755)
    assert users(read(machine, source="htcondor")) == {"jupyter-ml": ["alice"]}


def test_a_hub_without_settings_is_told() -> None:
    with pytest.raises(WrongValue, match="hub"):
        Settings(source="jupyterhub")
