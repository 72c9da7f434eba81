"""Documents of notebooks that are pods of a real API server: made, run and ended through the API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.system.facility import documents, of_kind
from tests.system.kubernetes_cluster import KubernetesCluster
from tests.system.test_kubernetes import Namespace

pytestmark = pytest.mark.system

PAGE_PODS = 500
"""How many pods the section asks for at once."""


def users(found: list[dict[str, Any]], kind: str) -> list[str]:
    """The users of the only document of a kind, which counts them."""
    (document,) = of_kind(found, kind)
    assert document["jupyter_user_count"] == len(document["users"])
    assert list(document) == ["token", "kind", "cluster", "jupyter_user_count", "users"]
    names: list[str] = document["users"]
    return names


def observed(kubernetes: KubernetesCluster, folder: Path, *words: str) -> tuple[int, list[dict[str, Any]], str]:
    environment = {"KUBECONFIG": str(kubernetes.folder / "collector.kubeconfig")}
    return documents(folder, environment, "-j", *words)


def test_who_has_a_live_pod_has_a_notebook_until_the_pod_ends_or_goes(
    kubernetes: KubernetesCluster, tmp_path: Path
) -> None:
    lab, casa = Namespace(kubernetes, "af-jupyter"), Namespace(kubernetes, "coffea-casa")
    runs = {name: lab.run(name, 60, labels={"owner": user}) for name, user in (("a", "alice"), ("b", "bob"))}
    lab.run("second-of-alice", 5, labels={"owner": "alice"})
    lab.make("waits", labels={"owner": "carol"})
    lab.run("of-nobody", 5)
    lab.end(lab.run("had-ended", 60, labels={"owner": "dave"}))
    casa.run("c", 5, labels={"jhub_user": "erin"})
    code, found, told = observed(kubernetes, tmp_path)
    assert code == 0, told
    assert users(found, "jupyter-ml") == ["alice", "bob", "carol"]
    assert users(found, "jupyter-coffea") == ["erin"]
    lab.end(runs["a"])
    lab.delete("second-of-alice")
    lab.end(runs["b"], "Failed", "OOMKilled")
    casa.delete("c")
    code, found, told = observed(kubernetes, tmp_path)
    assert code == 0, told
    assert users(found, "jupyter-ml") == ["carol"]
    assert users(found, "jupyter-coffea") == []
    code, found, told = observed(kubernetes, tmp_path, "--strict", "-o")
    assert code == 0, told
    assert len(users(found, "jupyter-ml")) == 4  # as the superseded program: ended pods too
    assert "alice" not in str(found)


def test_a_namespace_that_may_not_be_read_is_told_and_keeps_the_other(
    kubernetes: KubernetesCluster, tmp_path: Path
) -> None:
    here = Namespace(kubernetes, "half-allowed")
    Namespace(kubernetes, "forbidden", is_allowed=False)
    here.run("one", 5, labels={"who": "frank"})
    file = tmp_path / "facility.toml"
    file.write_text('[jupyter]\ncoffea_namespace = "forbidden"\n')
    code, found, told = observed(kubernetes, tmp_path, "-n", "half-allowed", "-l", "who", "--config", str(file))
    assert (code, users(found, "jupyter-ml")) == (1, ["frank"])
    assert not of_kind(found, "jupyter-coffea")
    assert "403" in told
    assert "Traceback" not in told


def test_a_namespace_of_several_pages_is_read_to_its_end(kubernetes: KubernetesCluster, tmp_path: Path) -> None:
    here = Namespace(kubernetes, "crowded")
    names = [f"user-{number:04}" for number in range(2 * PAGE_PODS + 1)]
    for number, name in enumerate(names):
        here.make(f"pod-{number:04}", labels={"owner": name})
    code, found, told = observed(kubernetes, tmp_path, "-n", "crowded", "--config", str(_without_coffea(tmp_path)))
    assert (code, users(found, "jupyter-ml")) == (0, names), told


def test_an_api_server_that_is_away_is_no_empty_facility(kubernetes: KubernetesCluster, tmp_path: Path) -> None:
    kubernetes.stop_server()
    try:
        code, found, told = observed(kubernetes, tmp_path, "-s")
    finally:
        kubernetes.start_server()
    assert code == 1
    assert [document["kind"] for document in found] in ([], ["ssh"])  # a machine without utmp and logind has none
    assert told.count("facility.unreadable section=jupyter") == 2


def _without_coffea(folder: Path) -> Path:
    file = folder / "facility.toml"
    file.write_text("[jupyter]\ncoffea = false\n")
    return file
