"""Golden cases: what a real API server gave, by list and by watch, and the records that must come of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobmeter.model.period import Period
from jobmeter.observe.batch.kubernetes import KubernetesSource, Settings
from jobmeter.observe.host import Host
from jobmeter.settings.fault import SettingsFaulty
from jobmeter.settings.load import load
from jobmeter.wire.auditor import encode_record, parse_time
from tests.observe.kubernetes_pods import NOW
from tests.observe.kubernetes_server import ApiServer, api_server
from tests.observe.test_kubernetes_source import QUIET_SECONDS, Clock, Reading, kubeconfig, read

SRC = Path(__file__).parents[2] / "src"
CASES = Path(__file__).parents[1] / "cases" / "kubernetes"
LISTED = sorted(path.name for path in CASES.iterdir())
WATCHED = sorted(path.parent.name for path in CASES.glob("*/watch-pods.jsonl"))


def source(case: str, api: ApiServer, folder: Path) -> KubernetesSource:
    environment = {
        "K_KUBECONFIG": str(kubeconfig(folder, api.address)),
        "K_DATABASE_PATH": str(folder),
        "K_EARLIEST_DATETIME": "2020-01-01T00:00:00Z",
    }
    settings = load(Settings, file=CASES / case / "settings.yml", environment=environment, prefix="K_").settings
    return KubernetesSource(settings, Host(Path("/"), Clock(), {}), QUIET_SECONDS)


def outcome(reading: Reading) -> dict[str, Any]:
    records = [json.loads(encode_record(record)) for batch in reading.batches for record in batch.records]
    return {
        "records": sorted(records, key=lambda record: str(record["record_id"])),
        "refused": sorted(reading.reasons),
        "ignored": reading.ignored,
    }


def expected(case: str, found: dict[str, Any]) -> Any:
    file = CASES / case / "expected.json"
    if os.environ.get("JOBMETER_ACCEPT_CASES"):
        file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return json.loads(file.read_text())


def list_of(case: str) -> bytes:
    pods = json.loads((CASES / case / "pods.json").read_text())
    pods["metadata"]["resourceVersion"] = "100"  # which kubectl leaves out of the lists that it writes
    return json.dumps(pods).encode()


@pytest.mark.parametrize("case", LISTED)
def test_a_recorded_list_becomes_the_expected_records(case: str, tmp_path: Path) -> None:
    with api_server() as api:
        api.lists.append((200, list_of(case)))
        found = outcome(read(source(case, api, tmp_path), None))
    assert found == expected(case, found)


@pytest.mark.parametrize("case", LISTED)
def test_a_period_over_a_recorded_list_gives_the_same_records(case: str, tmp_path: Path) -> None:
    reading = Reading()
    with api_server() as api:
        api.lists.append((200, list_of(case)))
        period = Period(parse_time("2020-01-01T00:00:00Z"), NOW)
        reading.take(source(case, api, tmp_path).read("", period))
    assert outcome(reading)["records"] == expected(case, outcome(reading))["records"]


@pytest.mark.parametrize("case", WATCHED)
def test_a_recorded_watch_becomes_the_same_records(case: str, tmp_path: Path) -> None:
    lines = (CASES / case / "watch-pods.jsonl").read_bytes()
    with api_server() as api:
        api.watches.append((200, lines))
        found = outcome(read(source(case, api, tmp_path), None, 6))
    assert found == expected(case, found)


AUDITOR_CONFIG = """
auditor_addr: localhost
auditor_port: 8000
prometheus_addr: prometheus.monitoring.svc
prometheus_port: 31000
record_prefix: KUBE
earliest_datetime: 2024-06-01T00:00:00+02:00
auditor_timeout: 10
prometheus_timeout: 90
collect_interval: 30
{interval}: 60
backlog_interval: 300
backlog_maxretries: 2
database_path: /var/lib/auditor
job_filter: {{namespace: [default, batch], labels: [app==test, tier!=x], status: [Completed]}}
log_level: DEBUG
tls_config: {{use_tls: false}}
"""


@pytest.mark.parametrize("interval", ["merge_interval", "send_interval"])
def test_the_configuration_of_auditor_is_accepted_unchanged(tmp_path: Path, interval: str) -> None:
    file = tmp_path / "config.yml"
    file.write_text(AUDITOR_CONFIG.format(interval=interval))
    loaded = load(Settings, file=file, environment={}, prefix=None)
    assert loaded.notes == ()
    settings = loaded.settings
    assert settings.prometheus_url == "http://prometheus.monitoring.svc:31000"
    assert settings.job_filter.selector == "app==test,tier!=x"
    assert settings.usage_interval_seconds == 60
    deployment = settings.deployment
    assert (deployment.url, deployment.timeout_seconds) == ("http://localhost:8000", 10)
    assert deployment.spool_file == Path("/var/lib/auditor/mqueue.db.spool")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("job_filter: {namespace: []}", "no pod would be collected"),
        ('job_filter: {namespace: ["*", a]}', "stands for all namespaces"),
        ("job_filter: {namespace: [../x]}", "is not the name of a namespace"),
        ("job_filter: {namespace: [a, a]}", "names one twice"),
        ("meta: [{name: a}]", "needs one of label, annotation and value"),
        ("meta: [{name: a, label: b, value: c}]", "needs one of label, annotation and value"),
        ("meta: [{name: a, label: b}, {name: a, label: c}]", "names one key twice"),
        ("delete_jobs: true", "is not known"),
        ("collect_interval: 0", "collect_interval"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_told(tmp_path: Path, line: str, told: str) -> None:
    file = tmp_path / "config.yml"
    file.write_text(line + "\n")
    with pytest.raises(SettingsFaulty, match=told):
        load(Settings, file=file, environment={}, prefix=None)


def test_the_name_of_auditors_collector_reads_config_yml(tmp_path: Path) -> None:
    code = "import sys; from jobmeter.run.main import auditor_kubernetes_collector as c; sys.exit(c(sys.argv[1:]))"
    (tmp_path / "config.yml").write_text("auditor_prot: 1\n")
    for words in ((), ("--once",)):
        process = subprocess.run(
            [sys.executable, "-c", code, *words],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(SRC)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert process.returncode == 2
        assert "config.yml" in process.stderr
        assert "did you mean auditor_port?" in process.stderr
