"""What is handed out works where nothing else is: one file for nodes, packages, wheel, container, Ansible.

Needs root, Debian and a package index: no plain test.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
import venv
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.bare import BUILT_BY, PACKAGING, ROOT, inside, lacks, make_root, ran, started_inside

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(os.geteuid() != 0, reason="roots are made and entered by root"),
    pytest.mark.skipif(bool(lacks("mmdebstrap")), reason="on Debian: apt-get install mmdebstrap"),
]

BY_DEBIAN = {"PYTHON": BUILT_BY}
READY = re.compile(r"jobmeter is ready at (http://127\.0\.0\.1:\d+)")
UNITS = sorted(path.name for path in (PACKAGING / "systemd").glob("*.service"))
EXPOSED_MOST = {
    "jobmeter-node.service": 5.0,
    "jobmeter-facility.service": 2.5,
    "jobmeter-collect-oar.service": 9.0,
    "jobmeter-report-priority.service": 4.5,
}
"""How open a unit may be by `systemd-analyze security`, from 0 to 10. OAR's programs are set-uid."""
EXPOSED_ELSE = 2.0
OWN_LIBRARIES = {
    "bogus-mail-host",
    "dir-or-file-in-opt",
    "embedded-library",
    "library-not-linked-against-libc",
    "unstripped-binary-or-object",
}
"""What lintian says of a package that brings its libraries along as their makers built them, and has no maintainer."""


@pytest.fixture(scope="module")
def python_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nothing but Debian's base and python3."""
    return make_root(tmp_path_factory.mktemp("python") / "root", ["python3"])


@pytest.fixture(scope="module")
def systemd_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine with systemd, which does not run."""
    return make_root(tmp_path_factory.mktemp("systemd") / "root", ["python3", "procps", "systemd"])


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package of a server."""
    folder = tmp_path_factory.mktemp("deb")
    ran(PACKAGING / "deb.sh", folder, variables=BY_DEBIAN)
    return next(folder.glob("jobmeter_*.deb"))


@contextmanager
def up_inside(root: Path, *program: str) -> Iterator[Callable[[str], bytes]]:
    """`jobmeter up` in the root; what it answers to a path."""
    process = started_inside(root, *program, "up", "--port", "0", "--data", "/tmp/data", "--period", "0.5")
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if match := READY.search(line):
                address = match[1]
                break
        else:
            pytest.fail("".join(said))
        yield lambda path: urllib.request.urlopen(f"{address}{path}", timeout=20).read()
    finally:
        process.terminate()
        process.communicate(timeout=60)


def soon(found: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.3)


def test_one_file_samples_a_node_that_has_python3_only(tmp_path: Path, python_root: Path) -> None:
    ran(PACKAGING / "zipapp.sh", python_root / "jobmeter.pyz", variables=BY_DEBIAN)
    program = ("/usr/bin/python3", "/jobmeter.pyz")
    assert "usage: jobmeter node" in inside(python_root, *program, "node", "--help")
    lines = inside(python_root, *program, "node", "--print", "--once").splitlines()
    assert {"procstats", "agent"} <= {json.loads(line)["source"] for line in lines}
    assert (python_root / "root/.cache/jobmeter-node").stat().st_mode & 0o077 == 0
    assert "usage: jobmeter doctor" in inside(python_root, *program, "doctor", "--help")


def files(root: Path) -> set[str]:
    places = ("opt", "usr/bin", "usr/lib/systemd", "usr/lib/sysusers.d", "usr/share/doc")
    return {str(file) for place in places for file in (root / place).rglob("*")}


def test_the_debian_package_installs_runs_and_goes_without_a_trace(systemd_root: Path, package: Path) -> None:
    before = files(systemd_root)
    shutil.copy(package, systemd_root / "jobmeter.deb")
    inside(systemd_root, "dpkg", "--install", "/jobmeter.deb")
    assert inside(systemd_root, "getent", "passwd", "jobmeter").startswith("jobmeter:")
    for name in ("jobmeter", "colmet-node", "auditor-slurm-collector", "afmetrics_collector"):
        assert "usage:" in inside(systemd_root, name, "--help")
    with up_inside(systemd_root, "jobmeter") as ask:
        soon(lambda: b"procstats_" in ask("/v2/samples?source=procstats&node_only=true"))
        assert b"Quick start" in ask("/docs")
    (systemd_root / "etc/jobmeter/serve.toml").write_text("# of the administrator\n")
    inside(systemd_root, "dpkg", "--install", "/jobmeter.deb")
    inside(systemd_root, "dpkg", "--remove", "jobmeter")
    assert files(systemd_root) == before
    assert (systemd_root / "etc/jobmeter/serve.toml").exists()


def test_the_debian_package_has_no_fault_that_lintian_calls_an_error(package: Path) -> None:
    if lacks("lintian"):
        pytest.skip("there is no lintian; on Debian: apt-get install lintian")
    done = subprocess.run(
        ["lintian", "--fail-on", "none", "--tag-display-limit", "0", str(package)],
        capture_output=True,
        text=True,
        check=False,
    )
    errors = {line.split()[2] for line in done.stdout.splitlines() if line.startswith("E:")}
    assert errors <= OWN_LIBRARIES


@pytest.fixture(scope="module")
def units_root(systemd_root: Path) -> Iterator[Path]:
    """The root with our units, their users, and something in the place of their program."""
    place = systemd_root / "usr/lib/systemd/system"
    ours = [file for file in (PACKAGING / "systemd").iterdir() if file.suffix in (".service", ".timer")]
    made = [shutil.copy(file, place / file.name) for file in ours]
    program = systemd_root / "usr/bin/jobmeter"
    program.unlink(missing_ok=True)
    program.symlink_to("true")
    users = (systemd_root / "etc/passwd").read_text()
    for name in ("jobmeter", "slurm"):
        if f"{name}:" not in users:
            inside(systemd_root, "useradd", "--system", name)
    yield systemd_root
    program.unlink()
    for file in made:
        Path(file).unlink()


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_understood_by_systemd_and_shut_in(units_root: Path, unit: str) -> None:
    place = f"/usr/lib/systemd/system/{unit}"
    verify = ["chroot", str(units_root), "systemd-analyze", "verify", "--man=no", place]
    said = subprocess.run(verify, capture_output=True, text=True, check=False).stderr
    assert [line for line in said.splitlines() if "jobmeter" in line] == []
    told = inside(units_root, "systemd-analyze", "security", "--offline=yes", "--no-pager", place)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", told)
    assert found is not None, told
    sys.stdout.write(f"{unit}: {found[1]}\n")
    assert float(found[1]) <= EXPOSED_MOST.get(unit, EXPOSED_ELSE)


@pytest.mark.skipif(bool(lacks("rpmbuild", "rpm")), reason="on Debian: apt-get install rpm")
def test_the_rpm_holds_programs_and_units_and_runs_in_a_root_of_its_own(tmp_path: Path, python_root: Path) -> None:
    ran(PACKAGING / "rpm.sh", tmp_path, "", variables=BY_DEBIAN)
    package = next(tmp_path.glob("jobmeter-*.rpm"))
    listed = ran("rpm", "-qpl", package).splitlines()
    assert {"/usr/bin/jobmeter", "/usr/bin/colmet-node", "/usr/lib/systemd/system/jobmeter-node.service"} <= set(listed)
    assert "python(abi) = 3." in ran("rpm", "-qpR", package)
    assert not [line for line in listed if str(tmp_path) in line]
    ran("rpm", f"--root={python_root}", "--install", "--nodeps", "--ignoreos", package)
    lines = inside(python_root, "jobmeter", "node", "--print", "--once").splitlines()
    assert "procstats" in {json.loads(line)["source"] for line in lines}
    ran("rpm", f"--root={python_root}", "--erase", "jobmeter")
    assert not (python_root / "opt/jobmeter").exists()
    assert not (python_root / "usr/bin/jobmeter").exists()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    ran(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    return next(folder.glob("jobmeter-*.whl"))


def test_the_wheel_has_the_documentation_and_nothing_of_the_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {"jobmeter/manual/tree/docs/README.md", "jobmeter/manual/tree/packaging/deb.sh"} <= set(names)
    assert all(name.startswith(("jobmeter/", "jobmeter-")) for name in names)
    assert not [name for name in names if "__pycache__" in name]


def test_the_wheel_installs_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=True)
    ran(tmp_path / "env/bin/pip", "install", "--quiet", f"{wheel}[server,samples]")
    assert "procstats" in ran(tmp_path / "env/bin/jobmeter", "up", "--look", folder=tmp_path)
    ran(tmp_path / "env/bin/pip", "check")
    site = ran(tmp_path / "env/bin/python", "-m", "jobmeter.run.reference.site", tmp_path / "site", folder=tmp_path)
    assert "pages in" in site


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """buildah with a store of its own."""
    folder = tmp_path_factory.mktemp("images")
    return ["buildah", "--storage-driver=vfs", f"--root={folder}/store", f"--runroot={folder}/run"]


@pytest.mark.skipif(bool(lacks("buildah")), reason="on Debian: apt-get install buildah")
def test_the_container_is_built_on_a_base_and_serves(tmp_path: Path, images: list[str]) -> None:
    base = make_root(tmp_path / "base", ["python3", "python3-venv", "ca-certificates"])
    _with_our_index(base)
    ran("tar", "--create", "--file", tmp_path / "base.tar", "--directory", base, ".")
    (tmp_path / "Base").write_text("FROM scratch\nADD base.tar /\n")
    ran(*images, "build", "--isolation=chroot", "--tag=jobmeter-base", "-f", tmp_path / "Base", tmp_path)
    ran(
        *images,
        "build",
        "--isolation=chroot",
        "--format=docker",
        "--build-arg=BASE=localhost/jobmeter-base",
        "--tag=jobmeter",
        "-f",
        PACKAGING / "container/Containerfile",
        ROOT,
    )
    told = json.loads(ran(*images, "inspect", "--type=image", "localhost/jobmeter"))["Docker"]["config"]
    assert (told["User"], told["Entrypoint"], told["StopSignal"]) == ("10001", ["jobmeter"], "SIGTERM")
    assert "/health_check" in str(told["Healthcheck"])
    work = ran(*images, "from", "--pull-never", "localhost/jobmeter").strip()
    run = [*images, "run", "--isolation=chroot", "--user=10001", work, "--"]
    assert "doctor" in ran(*run, "jobmeter", "--help")
    process = subprocess.Popen(
        [*run, "jobmeter", "serve", "--port", "0", "--data", "/var/lib/jobmeter"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        match = next(match for line in process.stdout if (match := READY.search(line)))
        with urllib.request.urlopen(f"{match[1]}/docs", timeout=20) as answer:
            assert b"Quick start" in answer.read()
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _with_our_index(root: Path) -> None:
    """The root gets its packages of Python where this machine gets them."""
    for name in ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt"):
        if Path(name).exists():
            shutil.copy(name, root / name[1:])


@pytest.mark.skipif(bool(lacks("mmdebstrap")), reason="on Debian: apt-get install mmdebstrap")
def test_ansible_sets_up_a_facility_and_changes_nothing_the_second_time(tmp_path: Path, package: Path) -> None:
    root = make_root(tmp_path / "root", ["python3", "procps", "ansible-core", "python3-apt"])
    shutil.copytree(PACKAGING / "ansible", root / "srv/ansible")
    shutil.copy(package, root / "srv/jobmeter.deb")
    (root / "srv/inventory.ini").write_text(
        "[jobmeter_server]\nlocalhost\n[jobmeter_collectors]\nlocalhost batch=slurm\n"
        "[jobmeter_gatherers]\nlocalhost\n[jobmeter_nodes]\nlocalhost\n"
        "[jobmeter:children]\njobmeter_server\njobmeter_collectors\njobmeter_gatherers\njobmeter_nodes\n"
        "[jobmeter:vars]\nansible_connection=local\njobmeter_package=/srv/jobmeter.deb\n"
        "jobmeter_site=here\njobmeter_cluster=small\n"
    )
    play = ("ansible-playbook", "-i", "/srv/inventory.ini", "/srv/ansible/site.yml")
    first = inside(root, *play)
    assert re.search(r"changed=[1-9]", first), first
    for name in ("serve", "slurm", "gather", "node"):
        assert "fine" in inside(root, "jobmeter", "check", "--for", name, f"/etc/jobmeter/{name}.toml")
    token = (root / "etc/jobmeter/token").read_text()
    assert token.startswith("jobmeter_")
    assert (root / "etc/jobmeter/token").stat().st_mode & 0o077 == 0
    again = inside(root, *play)
    assert "changed=0" in again, again
    assert (root / "etc/jobmeter/token").read_text() == token
