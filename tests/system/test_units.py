"""Our units under a running systemd: they start, may do what they have to and no more, end in order, and log.

The machine is this one's kernel with a Debian root and systemd as its first process.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.bare import BUILT_BY, PACKAGING, lacks, make_root, ran
from tests.system.machine import TREES, Machine

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="machines are made by root"),
    pytest.mark.skipif(bool(lacks("mmdebstrap", "nsenter")), reason="on Debian: apt-get install mmdebstrap"),
    pytest.mark.skipif(
        not all(Path(tree, "cgroup.procs").exists() for tree in TREES), reason="control groups are not mounted as both"
    ),
]

SERVE = '[samples]\npath = "/var/lib/jobmeter-serve/samples"\n'
GATHER = """
[listen]
plain = ""
acknowledged = "tcp://127.0.0.1:5557"
[journal]
folder = "/var/lib/jobmeter/gather"
[samples]
path = "/var/lib/jobmeter/samples"
[summaries]
address = "http://127.0.0.1:8000"
"""
NODE = """
sample_period_seconds = 1
[jobs]
managers = ["systemd"]
[sending]
gatherers = ["tcp://127.0.0.1:5557"]
spool = "/var/lib/jobmeter-node/spool"
[sources.jobproc]
"""
FACILITY = 'sections = ["host"]\ncluster = "machine"\n[send]\nurl = "http://127.0.0.1:8000/"\n'
FOUR = (12, 38, 19, 2)
"""CAP_NET_ADMIN, CAP_PERFMON, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH."""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("deb")
    ran(PACKAGING / "deb.sh", folder, "server,samples,apel", variables={"PYTHON": BUILT_BY})
    return next(folder.glob("jobmeter_*.deb"))


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Iterator[Machine]:
    """It runs, with the package installed and settings written; no unit of ours has been started."""
    packages = ["python3", "procps", "systemd", "systemd-sysv", "dbus", "curl"]
    made = Machine(make_root(tmp_path_factory.mktemp("machine") / "root", packages))
    try:
        made.start()
        shutil.copy(package, made.root / "root/jobmeter.deb")
        made.run("dpkg", "--install", "/root/jobmeter.deb")
        for name, text in (("serve", SERVE), ("gather", GATHER), ("node", NODE), ("facility", FACILITY)):
            (made.root / f"etc/jobmeter/{name}.toml").write_text(text)
        yield made
    finally:
        made.stop()


def answers(machine: Machine) -> bool:
    return machine.told("curl", "-s", "-o/dev/null", "-w%{http_code}", "http://127.0.0.1:8000/health_check") == "200"


def asked(machine: Machine, path: str) -> Any:
    return json.loads(machine.run("curl", "-s", f"http://127.0.0.1:8000{path}"))


def status(machine: Machine, unit: str) -> dict[str, str]:
    """What the kernel says of the unit's main process."""
    text = machine.run("cat", f"/proc/{machine.shown(unit, 'MainPID')}/status")
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


def journal(machine: Machine, unit: str, *more: str) -> list[dict[str, str]]:
    lines = machine.run("journalctl", f"--unit={unit}", "--output=json", *more).splitlines()
    return [json.loads(line) for line in lines]


def test_the_package_starts_nothing(machine: Machine) -> None:
    assert machine.told("systemctl", "list-units", "--no-legend", "--state=active", "jobmeter*") == ""


def test_the_server_runs_without_rights_in_a_folder_of_its_own(machine: Machine) -> None:
    machine.run("systemctl", "start", "jobmeter-serve")
    machine.wait(lambda: answers(machine))
    found = status(machine, "jobmeter-serve")
    assert (int(found["CapEff"], 16), int(found["CapBnd"], 16), found["NoNewPrivs"], found["Seccomp"]) == (
        0,
        0,
        "1",
        "2",
    )
    user = found["Uid"].split()[0]
    assert user not in ("0", machine.run("id", "-u", "jobmeter").strip())
    assert machine.run("stat", "-c", "%u %a", "/var/lib/private/jobmeter-serve/records.db") == f"{user} 600\n"
    migrated = next(line for line in journal(machine, "jobmeter-serve") if "store.migrated" in line["MESSAGE"])
    assert migrated["PRIORITY"] == "6"
    assert json.loads(migrated["MESSAGE"])["event"] == "store.migrated"


def test_a_token_is_made_by_root_while_the_server_runs_and_while_it_does_not(machine: Machine) -> None:
    make = ("jobmeter", "token", "create", "--role=read", "--data=/var/lib/jobmeter-serve")
    machine.run(*make, "one")
    machine.run("systemctl", "stop", "jobmeter-serve")
    assert machine.shown("jobmeter-serve", "Result") == "success"
    machine.run(*make, "two")
    machine.run("systemctl", "start", "jobmeter-serve")
    machine.wait(lambda: answers(machine))
    machine.run("systemctl", "reload", "jobmeter-serve")
    assert answers(machine)


def test_the_node_agent_has_four_rights_and_its_samples_reach_the_gatherers_store(machine: Machine) -> None:
    machine.run("systemctl", "start", "jobmeter-gather", "jobmeter-node")
    machine.wait(lambda: machine.shown("jobmeter-node", "ActiveState") == "active")
    rights = sum(1 << number for number in FOUR)
    found = status(machine, "jobmeter-node")
    assert (int(found["CapEff"], 16), int(found["CapBnd"], 16)) == (rights, rights)
    burn = ("sh", "-c", 'end=$(($(date +%s) + 6)); while [ "$(date +%s)" -lt "$end" ]; do :; done')
    machine.run("systemd-run", "--scope", "--unit=run-burn", "--uid=jobmeter", *burn)
    machine.wait(lambda: bool(sources(machine, "systemd/run-burn")))
    assert {"cgroup", "jobproc", "commands"} <= sources(machine, "systemd/run-burn")
    assert {"procstats", "agent"} <= sources(machine, "--node=machine")
    warned = [line["MESSAGE"] for line in journal(machine, "jobmeter-node", "--priority=warning")]
    assert all("source=taskstats" in line for line in warned), warned  # which is for the first namespaces only
    for unit in ("jobmeter-node", "jobmeter-gather"):
        before = machine.shown(unit, "MainPID")
        machine.run("systemctl", "reload", unit)
        assert machine.shown(unit, "MainPID") == before


def sources(machine: Machine, *words: str) -> set[str]:
    """What was read of something, by the gatherer's store."""
    told = machine.told("jobmeter", "samples", "--store=/var/lib/jobmeter/samples", "--json", *words)
    return {each["source"] for each in json.loads(told)["series"]} if told else set()


def test_a_gatherer_that_is_killed_comes_back(machine: Machine) -> None:
    before = machine.shown("jobmeter-gather", "MainPID")
    machine.run("systemctl", "kill", "--signal=KILL", "jobmeter-gather")
    machine.wait(lambda: machine.shown("jobmeter-gather", "MainPID") not in ("0", before))


def test_documents_of_the_host_are_made_by_one_start(machine: Machine) -> None:
    machine.run("systemctl", "start", "jobmeter-facility")
    machine.wait(lambda: bool(asked(machine, "/v2/documents?limit=5")["documents"]))


@pytest.mark.parametrize("unit", ["node", "gather", "serve", "collect-slurm", "collect-oar", "report-apel"])
def test_a_unit_without_settings_fails_once_and_says_why(machine: Machine, unit: str) -> None:
    file = machine.root / f"etc/jobmeter/{unit}.toml"
    text = file.read_text() if file.exists() else None
    file.unlink(missing_ok=True)
    machine.told("systemctl", "restart", f"jobmeter-{unit}")
    machine.wait(lambda: machine.shown(f"jobmeter-{unit}", "ActiveState") == "failed")
    assert machine.shown(f"jobmeter-{unit}", "ExecMainStatus") == "2"
    said = [line["MESSAGE"] for line in journal(machine, f"jobmeter-{unit}", "--lines=8")]
    assert any("there is no such file" in line for line in said), said
    if text is not None:
        file.write_text(text)
    machine.run("systemctl", "reset-failed", f"jobmeter-{unit}")


def test_an_upgrade_restarts_what_ran_a_removal_keeps_data_and_settings_a_purge_the_data(machine: Machine) -> None:
    machine.run("systemctl", "enable", "--now", "jobmeter-serve")
    machine.wait(lambda: answers(machine))
    before = machine.shown("jobmeter-serve", "MainPID")
    machine.run("dpkg", "--install", "/root/jobmeter.deb")
    machine.wait(lambda: answers(machine))
    assert machine.shown("jobmeter-serve", "MainPID") != before
    assert machine.shown("jobmeter-serve", "UnitFileState") == "enabled"
    machine.run("dpkg", "--remove", "jobmeter")
    assert machine.told("systemctl", "list-units", "--no-legend", "--all", "jobmeter*") == ""
    assert not (machine.root / "etc/systemd/system/multi-user.target.wants/jobmeter-serve.service").is_symlink()
    assert (machine.root / "etc/jobmeter/serve.toml").exists()
    assert "stays as it is" in machine.run("dpkg", "--purge", "jobmeter")
    assert not (machine.root / "etc/jobmeter").exists()
    assert (machine.root / "var/lib/private/jobmeter-serve/records.db").exists()
