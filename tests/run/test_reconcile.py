"""A collector's report reaches a real server, and `jobmeter reconcile` says whether everything is there."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.model.outcome import Rejected
from jobmeter.peer import Endpoint
from jobmeter.run.collector.reporting import Reporter
from jobmeter.run.main import main
from jobmeter.settings.deployment import Deployment, SpoolBounds
from jobmeter.sinks.server import Settings, open_sink
from tests.clients.server import live
from tests.deliver.material import SetClock, batch
from tests.process import PATIENCE_SECONDS, free_port
from tests.run.test_serve import serving

DAYS = ["--since", "2024-03-01", "--until", "2024-03-02"]


def deployment(folder: Path, port: int) -> Deployment:
    return Deployment(
        source="slurm",
        addr="127.0.0.1",
        port=port,
        tls=None,
        read_every_seconds=1,
        send_every_seconds=1,
        spool_file=folder / "spool",
        spool=SpoolBounds(),
        prefix="slurm",
    )


def test_what_a_collector_took_is_reconciled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with live(tmp_path) as server, Spool(tmp_path / "spool", SpoolSettings(), SetClock()) as spool:
        reporter = Reporter(spool, deployment(tmp_path, server.port), Endpoint(server.url, 10))
        spool.absorb("slurm", batch("slurm-1", "slurm-2", "slurm-3", "slurm-4", refused=["odd"]))
        sink = open_sink(Settings(address=server.url))
        entries = spool.due(10)
        spool.settle(list(zip(entries[:2], sink.send([entry.body for entry in entries[:2]]), strict=True)))
        spool.settle([(entries[2], Rejected("no"))])
        assert reporter.tell()
        assert reporter.tell()
        assert main(["reconcile", "--server", server.url, *DAYS, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        (line,) = found["days"]
        counts = {key: line[key] for key in ("seen", "stored", "dead", "ignored", "waiting", "gap")}
        assert counts == {"seen": 5, "stored": 2, "dead": 2, "ignored": 0, "waiting": 1, "gap": 0}
        assert found["collectors"][0]["waiting"] == 1
        sink.send([entries[3].body])
        assert main(["reconcile", "--server", server.url, *DAYS]) == 1
        printed = capsys.readouterr().out
        assert "gap: slurm 2024-03-01: 1 stored and not seen" in printed
        with urllib.request.urlopen(f"{server.url}/metrics", timeout=PATIENCE_SECONDS) as answer:
            metrics = answer.read().decode()
        assert 'jobmeter_collector_waiting_records{source="slurm",' in metrics
        assert "jobmeter_collector_last_seen_timestamp_seconds" in metrics
        for query in ("since=x", "since=2024-01-02&until=2024-01-01", "foo=1"):
            with pytest.raises(urllib.error.HTTPError, match="400"):
                urllib.request.urlopen(f"{server.url}/v2/reconciliation?{query}", timeout=PATIENCE_SECONDS)
        for body in (b"{}", b'{"source":"s","spool":"a","days":[{"day":"2024-01-01","delivered":1}]}', b"["):
            request = urllib.request.Request(f"{server.url}/v2/collections", body, {"content-type": "application/json"})
            with pytest.raises(urllib.error.HTTPError, match="400"):
                urllib.request.urlopen(request, timeout=PATIENCE_SECONDS)
        reporter.close()
        sink.close()


def test_a_report_waits_for_the_server(tmp_path: Path) -> None:
    port = free_port()
    with Spool(tmp_path / "spool", SpoolSettings(), SetClock()) as spool:
        spool.absorb("slurm", batch("slurm-1"))
        reporter = Reporter(spool, deployment(tmp_path, port), Endpoint(f"http://127.0.0.1:{port}", 1))
        assert not reporter.tell()
        assert len(spool.report("slurm").days) == 1
        reporter.close()


def test_the_command_says_that_the_server_is_away(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconcile", "--server", f"http://127.0.0.1:{free_port()}"]) == 1
    assert main(["reconcile", "--server", "nowhere"]) == 2
    assert "jobmeter reconcile:" in capsys.readouterr().err


def test_a_server_that_asks_is_shown_the_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving("serve", "--port", "0", "--data", "kept", "--require-authentication", folder=tmp_path) as server:
        words = ["reconcile", "--server", f"http://127.0.0.1:{server.port}"]
        assert main(words) == 1
        capsys.readouterr()
        assert main(["token", "create", "me", "--role", "read", "--data", str(tmp_path / "kept")]) == 0
        secret = next(word for word in capsys.readouterr().out.split() if word.startswith("jobmeter_"))
        (tmp_path / "token").write_text(secret)
        assert main([*words, "--token-file", str(tmp_path / "token")]) == 0
