"""Jobs of every ending on a private OAR."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from tests.system.oar_cluster import USERS, OarCluster

UGLY = 'a|b "c" \\ é\t§ ,; <x>'
BEYOND_LATIN = "日本 €é"
LINES = "new\nline"
LATIN = "caf\udce9"
"""As a terminal in Latin-1 would give it: the byte 0xE9."""


def make_history(oar: OarCluster) -> dict[str, list[str]]:
    """The ids of the jobs by the way they ended; all have ended."""
    bob = USERS[1]
    short, one = "walltime=0:02:00", "/core=1"
    jobs = {
        "reserved": oar.submit("-n", "reserved", "-r", _in_seconds(30), "-l", f"{one},walltime=0:00:20"),
        "preempted": oar.submit("-t", "besteffort", "-l", f"{one},{short}", script="sleep 100", user=bob),
        "deleted": oar.submit("-n", "to delete", "-l", f"{one},{short}", script="sleep 100"),
        "walltime": oar.submit("-n", "too long", "-l", f"{one},walltime=0:00:05", script="sleep 100"),
        "never": oar.submit("--hold", "-n", "held", "-l", f"{one},{short}"),
        "ok": oar.submit("-n", "ok", "-l", f"{one},{short}", "--project", "physics", script="sleep 2"),
    }
    oar.run("oardel", *jobs["never"])
    for name in ("preempted", "deleted"):
        oar.wait(jobs[name][0], "Running")
    oar.run("oardel", *jobs["deleted"])
    jobs |= {
        "failed": oar.submit("-n", "failed", "-l", f"{one},{short}", script="exit 7", user=bob),
        "killed": oar.submit("-n", "killed", "-l", f"{one},{short}", script="kill -9 $$", user=bob),
        "array": oar.submit("-n", "array", "--array", "3", "-l", f"{one},{short}", script="sleep 1", user=bob),
        "moldable": oar.submit("-l", "/core=4,walltime=0:50:00", "-l", f"{one},{short}", script="sleep 1"),
        "deploy": oar.submit("-t", "deploy", "-l", f"/host=1,{short}", script="sleep 1"),
        "ugly": oar.submit("-n", UGLY, "-l", f"{one},{short}"),
        "beyond": oar.submit("-n", BEYOND_LATIN, "--project", 'a;b"d', "-l", f"{one},{short}"),
        "latin": oar.submit("-n", LATIN, "-l", f"{one},{short}"),
        "lines": oar.submit("-n", LINES, "-l", f"{one},{short}"),
        "long": oar.submit("-n", "x" * 100, "-l", f"{one},{short}"),
        "container": oar.submit("-n", "container", "-t", "container", "-l", f"{one},{short}", script="sleep 30"),
    }
    jobs["inner"] = oar.submit("-t", f"inner={jobs['container'][0]}", "-l", f"{one},walltime=0:00:10")
    jobs["whole"] = oar.submit("-n", "both hosts", "-l", f"/host=2,{short}", script="sleep 1", user=bob)
    for numbers in jobs.values():
        for number in numbers:
            oar.wait(number, "Terminated", "Error", seconds=240)
    return jobs


def _in_seconds(seconds: int) -> str:
    return (datetime.now().astimezone() + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")


def expected(oar: OarCluster) -> dict[str, dict[str, Any]]:
    """What must be stored of each job, by an own reading of OAR's tables."""
    found = {}
    for number, user, project, state, status, start, stop, given in oar.ask(
        "SELECT job_id, job_user, project, state, exit_code, start_time, stop_time, assigned_moldable_job FROM jobs"
    ):
        assigned = oar.ask(
            "SELECT r.network_address FROM assigned_resources a, resources r WHERE a.resource_id = r.resource_id"
            f" AND r.type = 'default' AND a.moldable_job_id = {given}"
        )
        if state not in {"Terminated", "Error"} or start <= 1 or not assigned:
            continue
        walltime = oar.ask(f"SELECT moldable_walltime FROM moldable_job_descriptions WHERE moldable_id = {given}")
        found[f"oar-{number}"] = {
            "user": user,
            "project": _typed(project),
            "status": status,
            "times": (start, stop),
            "amounts": {
                "Cores": len(assigned),
                "NNodes": len(set(assigned)),
                "Walltime": walltime[0][0],
                "CoreSeconds": len(assigned) * (stop - start),
            },
        }
    return found


def _typed(text: str) -> str:
    """What was typed: OAR 2 encodes what is encoded already."""
    return text if text.isascii() else text.encode("latin-1").decode()


def plain(record: dict[str, Any]) -> dict[str, Any]:
    """A stored record as `expected` has it."""
    meta = record["meta"]
    status = meta.get("status")
    return {
        "user": meta["user_id"][0],
        "project": meta["group_id"][0],
        "status": None if status is None else int(status[0]),
        "times": tuple(int(datetime.fromisoformat(record[key]).timestamp()) for key in ("start_time", "stop_time")),
        "amounts": {each["name"]: each["amount"] for each in record["components"]},
    }


def configuration(oar: OarCluster, port: int, read_from: str, spool: str, **more: Any) -> str:
    """The settings of these tests."""
    string = {"key_type": "String", "key_allow_empty": True}
    return json.dumps(
        {
            "port": port,
            "read_from": read_from,
            "database": oar.database,
            "earliest_datetime": "2020-01-01T00:00:00+00:00",
            "slice_seconds": 10**9,
            "settle_seconds": 0,
            "read_every_seconds": 1,
            "spool": {"path": spool},
            "sites": [{"name": "both", "only_if": {"key": "hosts", "matches": "^2$"}}, {"name": "rest"}],
            "meta": [
                {"name": "status", "key": "wait_status", "key_allow_empty": True},
                *({"name": key, "key": key, **string} for key in ("job_name", "types", "nodes", "ending", "exit_code")),
                {"name": "array", "key": "array_id"},
                {"name": "index", "key": "array_index"},
            ],
            "components": [
                {"name": "Cores", "key": "cores"},
                {"name": "NNodes", "key": "hosts"},
                {"name": "Walltime", "key": "walltime_seconds"},
                {"name": "CoreSeconds", "key": "core_seconds"},
            ],
            **more,
        }
    )
