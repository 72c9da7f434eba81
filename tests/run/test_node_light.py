"""What a running node must not have in memory: it is on every node of a cluster, all the time."""

from __future__ import annotations

import subprocess
import sys

import pytest

_HEAVY = (
    *(
        "yaml",
        "http",
        "ssl",
        "hashlib",
        "secrets",
        "email",
        "csv",
        "zipfile",
        "shutil",
        "tempfile",
        "importlib.metadata",
    ),
    *("asyncio", "multiprocessing", "concurrent", "sqlite3", "xml", "numpy", "sqlalchemy", "starlette", "uvicorn"),
    *("jinja2", "rich", "prometheus_client", "cryptography", "httpx", "pynvml", "regex", "duckdb", "h5py", "psycopg"),
)


def _imported(*options: str) -> set[str]:
    """Everything that a node imports from its start to its end."""
    words = [sys.executable, "-X", "importtime", "-m", "jobmeter", "node", "--once", *options]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.mark.parametrize("options", [("--zeromq-uri", "tcp://127.0.0.1:9"), ("--print",)])
def test_a_node_imports_nothing_heavy(options: tuple[str, ...]) -> None:
    found = _imported(*options)
    assert "jobmeter.observe.groups.files" in found
    assert sorted(name for name in _HEAVY if name in found) == []


def test_a_node_that_prints_needs_no_transport() -> None:
    assert not {"zmq", "jobmeter.transport.sender"} & _imported("--print")
