"""What a command imports: its own work's needs, and nothing of the server's unless it is the server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jobmeter import registry
from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.observe.host import SystemClock
from jobmeter.run.commands import summaries
from tests.guard.source import SOURCE, modules
from tests.observe.scontrol_player import command
from tests.observe.test_slurm_epilog_text import printed

SERVER_LIBRARIES = frozenset(
    {"starlette", "uvicorn", "uvloop", "httptools", "anyio", "sqlalchemy", "alembic", "mako", "psycopg"}
    | {"prometheus_client", "jinja2", "rich"}
)
SERVER_COMMANDS = frozenset({"serve", "up", "migrate", "token", "archive", "verify"})
"""Commands that are or prepare the server. Every other one runs on a node, in an epilog, in cron or in a terminal."""

BEFORE_A_COMMAND = frozenset(
    {"jobmeter", "jobmeter.__main__", "jobmeter.run", "jobmeter.run.main", "jobmeter.run.commands"}
)
"""Our modules that `jobmeter --help` may import."""

EPILOG_LIBRARIES = frozenset({"jobmeter", "msgspec", "yaml", "typing_extensions", "cython_runtime"})
"""What Slurm's epilog may import besides Python's own: it runs for every job that ends."""

EPILOG_MAY_NOT = frozenset(
    {"http", "ssl", "socketserver", "email", "asyncio", "zipfile", "tomllib", "secrets", "tempfile", "difflib"}
    | {"importlib.resources", "importlib.metadata", "logging.handlers", "uvloop", "regex", "jobmeter.sinks.server"}
    | {"jobmeter.run.collector.collecting", "jobmeter.observe.slurm.sacct", "jobmeter.observe.slurm.settings"}
)
"""What would cost the epilog more than it may take. `regex` comes with the first condition of a configuration."""

FACILITY_MAY_NOT = frozenset(
    {"asyncio", "zipfile", "tomllib", "yaml", "secrets", "tempfile", "importlib.metadata", "importlib.resources"}
    | {"logging.handlers", "regex", "jobmeter.settings.load", "jobmeter.observe.facility.batch"}
    | {"jobmeter.observe.facility.jupyter", "jobmeter.observe.kubernetes.api", "jobmeter.observe.htcondor.job"}
)
"""What would cost a run for sessions and the host, every few minutes on every login node, more than it may take."""

_LIST = "; import sys; print('\\n'.join(sys.modules))"


def _imports(code: str) -> set[str]:
    """The modules in memory after `code` has run in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(SOURCE)!r}); {code}{_LIST}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("\n"))


def _roots(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def _help(*words: str) -> set[str]:
    """The modules in memory after the program has run with these words; what it prints is left out."""
    quiet = "import io; sys.stdout = io.StringIO()"
    return _imports(f"{quiet}; from jobmeter.run.main import main; main({list(words)!r}); sys.stdout = sys.__stdout__")


def test_help_imports_no_command_and_nothing_heavy() -> None:
    names = _help("--help")
    heavy = SERVER_LIBRARIES | {"msgspec", "yaml", "logging", "tomllib", "zipfile", "email", "asyncio"}
    assert {name for name in names if _roots({name}) == {"jobmeter"}} <= BEFORE_A_COMMAND
    assert not _roots(names) & heavy
    assert "importlib.metadata" not in names


@pytest.mark.parametrize("name", sorted(set(summaries()) - SERVER_COMMANDS))
def test_a_command_beside_the_server_imports_no_server_library(name: str) -> None:
    assert not _roots(_help(name, "--help")) & SERVER_LIBRARIES


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in registry.KINDS for name in registry.names(kind)])
def test_a_plugin_imports_no_server_library(kind: str, name: str) -> None:
    code = f"from jobmeter.registry import module; module({kind!r}, {name!r})"
    assert not _roots(_imports(code)) & SERVER_LIBRARIES


@pytest.mark.parametrize("room", ["model", "wire", "settings", "query", "observe", "deliver", "sinks"])
def test_a_room_beside_server_and_store_imports_no_server_library(room: str) -> None:
    names = [module.name for module in modules() if module.room == room]
    assert not _roots(_imports(f"import {', '.join(names)}")) & SERVER_LIBRARIES


def test_the_settings_of_every_command_come_without_server_libraries() -> None:
    code = "from jobmeter.run import kinds; [kinds.settings(name) for name in kinds.names()]"
    assert not _roots(_imports(code)) & SERVER_LIBRARIES


def test_every_command_has_a_summary_that_can_be_read_from_its_text() -> None:
    declaring = {module for module in modules() if module.room == "run" and "\ndef declare(" in module.text}
    assert {module.name.rpartition(".")[2].replace("_", "-") for module in declaring} == set(summaries())


def _epilog(folder: Path, *, condition: bool) -> set[str]:
    """The modules in memory after the epilog of a job."""
    scontrol = command(folder, {"scontrol.txt": printed()})
    rule = (
        '{name: A, key: NumCPUs, only_if: {key: Partition, matches: "x"}}' if condition else "{name: A, key: NumCPUs}"
    )
    config = folder / "epilog.yml"
    config.write_text(
        f"scontrol_path: {scontrol}\ndeliver_seconds: 0\nspool: {{path: {folder}/spool}}\ncomponents: [{rule}]\n"
    )
    environment = "import os; os.environ.update(SLURM_JOB_ID='17', SLURM_SCRIPT_CONTEXT='epilog_slurmctld')"
    call = f"from jobmeter.run.main import main; assert main(['collect', 'slurm-epilog', {str(config)!r}]) == 0"
    names = _imports(f"{environment}; {call}")
    with Spool(folder / "spool", SpoolSettings(), SystemClock()) as spool:
        assert spool.status().entries == 1
    return names


def test_the_epilog_imports_little(tmp_path: Path) -> None:
    names = _epilog(tmp_path, condition=False)
    assert not names & EPILOG_MAY_NOT
    added = {name for name in _roots(names) - sys.stdlib_module_names if name and not name.startswith("_")}
    assert added <= EPILOG_LIBRARIES
    assert "regex" in _epilog(tmp_path / "conditional", condition=True)


def test_a_run_for_sessions_and_the_host_imports_little(tmp_path: Path) -> None:
    who = tmp_path / "who"
    who.write_text("#!/bin/sh\necho alice pts/0\n")
    who.chmod(0o755)
    environment = f"import os; os.environ.update(STATE_DIRECTORY={str(tmp_path)!r}, PATH={str(tmp_path)!r})"
    call = f"os.chdir({str(tmp_path)!r}); from jobmeter.run.main import main; main(['facility', '-sd', '--host'])"
    names = _imports(f"{environment}; {call}")
    assert not names & FACILITY_MAY_NOT
    added = {name for name in _roots(names) - sys.stdlib_module_names if name and not name.startswith("_")}
    assert added <= EPILOG_LIBRARIES - {"yaml"}


def test_a_measured_command_is_not_kept_waiting_by_what_delivering_needs() -> None:
    code = "from jobmeter.run.main import main; assert main(['run', '--no-record', '--quiet', '--', 'true']) == 0"
    assert not _imports(code) & {"http", "ssl", "email", "asyncio", "ctypes", "yaml", "regex", "jobmeter.sinks.server"}


def test_this_guard_sees_what_is_imported() -> None:
    assert "sqlalchemy" in _roots(_imports("import sqlalchemy"))
    assert "jobmeter.run.commands.check" in _help("check", "--help")
