"""What is handed out works: one file for nodes, a Debian package, a wheel. Needs a package index: no plain test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"

pytestmark = pytest.mark.system


def ran(*words: str | Path, **variables: str) -> str:
    environment = {**os.environ, **variables}
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_file_samples_a_node(tmp_path: Path) -> None:
    ran(PACKAGING / "zipapp.sh", tmp_path / "jobmeter.pyz", PYTHON=sys.executable)
    cache = str(tmp_path / "cache")
    program = (sys.executable, "-I", tmp_path / "jobmeter.pyz")
    assert "usage: jobmeter node" in ran(*program, "node", "--help", XDG_CACHE_HOME=cache)
    lines = ran(*program, "node", "--print", "--once", XDG_CACHE_HOME=cache).splitlines()
    assert {"procstats", "agent"} <= {json.loads(line)["source"] for line in lines}
    assert (tmp_path / "cache" / "jobmeter-node").stat().st_mode & 0o077 == 0


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="there is no dpkg-deb")
def test_the_debian_package_holds_a_program_that_runs_and_units(tmp_path: Path) -> None:
    ran(PACKAGING / "deb.sh", tmp_path, "", PYTHON="/usr/bin/python3")
    package = next(tmp_path.glob("jobmeter_*.deb"))
    ran("dpkg-deb", "-x", package, tmp_path / "root")
    assert (tmp_path / "root/lib/systemd/system/jobmeter-node.service").is_file()
    code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from jobmeter.run.main import main; sys.exit(main())"
    said = ran("/usr/bin/python3", "-I", "-c", code, tmp_path / "root/opt/jobmeter/lib", "--help")
    assert "doctor" in said


def test_the_wheel_installs_in_a_clean_environment(tmp_path: Path) -> None:
    ran(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT)
    venv.create(tmp_path / "env", with_pip=True)
    wheel = next(tmp_path.glob("jobmeter-*.whl"))
    ran(tmp_path / "env/bin/pip", "install", "--quiet", f"{wheel}[server,samples]")
    assert "procstats" in ran(tmp_path / "env/bin/jobmeter", "up", "--look")
