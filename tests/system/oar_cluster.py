"""A private OAR 2 on loopback: its server, an sshd for its nodes, and a database in the tests' own PostgreSQL.

Needs Debian's packages and root. OAR's commands read /etc/oar/oar.conf and nothing else, so that file is written for
the time and put back afterwards. cpusets are left off: nothing of the machine's cgroups is touched. Everything that is
started is stopped by its process id.
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests.postgresql import PrivatePostgresql
from tests.process import free_port, wait_until
from tests.system.daemons import Daemons
from tests.system.debian import PATH, Unavailable, install

PACKAGES = (
    "oar-server", "oar-server-pgsql", "oar-user", "oar-user-pgsql", "oar-node", "openssh-server", "taktuk",
    "postgresql-client", "libdbd-pg-perl", "libjson-perl",
)  # fmt: skip
USERS = ("jm-oar-ann", "jm-oar-bob")
CORES_PER_HOST = 2
_COMMANDS = ("oarsub", "oarstat", "oarnodesetting", "oar-database", "Almighty", "sshd", "taktuk", "psql")
_CONF = Path("/etc/oar/oar.conf")
_KEPT = Path("/etc/oar/oar.conf.jobmeter-kept")


def install_oar() -> None:
    """Install Debian's packages when they are missing, without starting any service. Raises Unavailable."""
    if os.geteuid() != 0:
        raise Unavailable("OAR needs root")
    install(PACKAGES, _COMMANDS)


class OarCluster:
    """Two nodes of two cores each, both of them this machine under two names. `stop` ends all that `start` made.

    `more` is further configuration.
    """

    more = ""

    def __init__(self, postgresql: PrivatePostgresql) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="jobmeter-oar-"))
        self.folder.chmod(0o755)
        self.jobs = self.folder / "jobs"
        self.hosts = ("localhost", socket.gethostname().split(".")[0])
        self._socket = str(conninfo_to_dict(postgresql.url("oar"))["host"])
        self._server_port, self._ssh_port = free_port(), free_port()
        self._daemons = Daemons(self.folder, {"PATH": PATH, "LC_ALL": "C.UTF-8"})
        self._password = ""
        self._made: list[str] = []

    @property
    def database(self) -> str:
        """The libpq address of OAR's database, for its read-only user."""
        return self._address("oar_ro")

    def start(self) -> None:
        self.jobs.mkdir()
        self.jobs.chmod(0o1777)
        Path(self._socket).chmod(0o755)
        for user in USERS:
            if not _known(user):
                self._run(["useradd", "-m", "-s", "/bin/bash", "-d", str(self.folder / user), user])
                self._made.append(user)
        self._write_configuration()
        self._create_database()
        self._start_ssh()
        self._start_server()

    def stop(self) -> None:
        """End the jobs, the daemons and the users, and put the configuration back."""
        if self._daemons.all_run():
            self.end_all()
        self._daemons.end_all()
        if self._password:
            self._run(["usermod", "-p", self._password, "oar"], check=False)
        for user in self._made:
            self._run(["userdel", user], check=False)
        if _KEPT.exists():
            _KEPT.replace(_CONF)
        shutil.rmtree(self.folder, ignore_errors=True)

    def submit(self, *options: str, user: str = USERS[0], script: str = "exit 0") -> list[str]:
        """The ids of the jobs that oarsub makes of a script and options."""
        path = self.jobs / f"script-{time.monotonic_ns()}.sh"
        path.write_text("#!/bin/bash\n" + script + "\n")
        path.chmod(0o755)
        done = self._run(["oarsub", *options, str(path)], user=user)
        found = re.findall(r"^OAR_JOB_ID=(\d+)", done.stdout, re.MULTILINE)
        if not found:
            raise RuntimeError(f"oarsub {options}: {done.stdout}{done.stderr}")
        return found

    def run(self, *argv: str, check: bool = True) -> str:
        """The output of a command of OAR, run as root."""
        return self._run(list(argv), check=check).stdout

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of OAR's own database."""
        with psycopg.connect(self._address("postgres")) as connection:
            return connection.execute(query.encode()).fetchall()

    def change(self, statement: str) -> None:
        """Change OAR's own database."""
        with psycopg.connect(self._address("postgres")) as connection:
            connection.execute(statement.encode())

    def state(self, job: str) -> str:
        [(state,)] = self.ask(f"SELECT state FROM jobs WHERE job_id = {int(job)}")
        return str(state)

    def wait(self, job: str, *states: str, seconds: float = 120.0) -> None:
        """Return once the job is in one of these states."""
        try:
            wait_until(lambda: self.state(job) in states, f"job {job} is {' or '.join(states)}", seconds)
        except TimeoutError as late:
            late.add_note(self.run("oarstat", "-f", "-j", job, check=False) + self.log()[-4000:])
            raise

    def end_all(self) -> None:
        """Delete every job that has not ended, and wait for it."""
        open_jobs = "SELECT job_id FROM jobs WHERE state NOT IN ('Terminated', 'Error')"
        with suppress(TimeoutError):
            for (job,) in self.ask(open_jobs):
                self.run("oardel", str(job), check=False)
            wait_until(lambda: not self.ask(open_jobs), "no job runs", 60)

    def log(self) -> str:
        """What OAR's server logged."""
        return (self.folder / "oar.log").read_text(errors="replace")

    def _address(self, user: str) -> str:
        return f"host={self._socket} dbname=oar user={user}"

    def _run(
        self, argv: list[str], *, user: str = "root", check: bool = True, seconds: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root"}
        given: dict[str, Any] = {"cwd": "/"}
        if user != "root":
            known = pwd.getpwnam(user)
            # oarsub takes the job's folder from PWD.
            environment |= {"HOME": known.pw_dir, "USER": user, "LOGNAME": user, "PWD": str(self.jobs)}
            given = {"cwd": self.jobs, "user": known.pw_uid, "group": known.pw_gid, "extra_groups": []}
        done = subprocess.run(
            argv, env=environment, capture_output=True, text=True, timeout=seconds, check=False, **given
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{shlex.join(argv)}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def _write_configuration(self) -> None:
        if not _KEPT.exists():
            shutil.copy2(_CONF, _KEPT)
        log = self.folder / "oar.log"
        log.touch()
        shutil.chown(log, "oar", "oar")
        _CONF.write_text(
            _OAR_CONF.format(database=self._socket, server=self._server_port, ssh=self._ssh_port, folder=self.folder)
            + self.more.format(folder=self.folder)
        )
        shutil.chown(_CONF, "oar", "root")
        _CONF.chmod(0o600)

    def _create_database(self) -> None:
        # The tests of a whole session share one PostgreSQL, and another cluster may have been there before.
        with psycopg.connect(f"host={self._socket} dbname=postgres user=postgres", autocommit=True) as connection:
            for statement in ("DATABASE IF EXISTS oar WITH (FORCE)", "ROLE IF EXISTS oar", "ROLE IF EXISTS oar_ro"):
                connection.execute(f"DROP {statement}".encode())
        done = self._run(
            [
                "oar-database", "--create", "--db-type=Pg", f"--db-host={self._socket}", "--db-port=5432",
                "--db-user=oar", "--db-pass=oar", "--db-name=oar", "--db-ro-user=oar_ro", "--db-ro-pass=oar_ro",
                "--db-admin-user=postgres", "--db-admin-pass=x", "-y",
            ],
            seconds=120,
        )  # fmt: skip
        if not self.ask("SELECT version FROM schema"):
            raise RuntimeError(done.stdout + done.stderr)

    def _start_ssh(self) -> None:
        # sshd refuses a locked account, which is what the package makes; an unusable password is not locked.
        shadow = Path("/etc/shadow").read_text()
        self._password = next(line.split(":")[1] for line in shadow.splitlines() if line.startswith("oar:"))
        self._run(["usermod", "-p", "*", "oar"])
        Path("/run/sshd").mkdir(exist_ok=True)
        config = self.folder / "sshd_config"
        config.write_text(_SSHD_CONFIG.format(port=self._ssh_port))
        self._daemons.start("sshd", "/usr/sbin/sshd", "-D", "-e", "-f", str(config))
        wait_until(lambda: _answers(self._ssh_port), "sshd answers", 20)

    def _start_server(self) -> None:
        self._daemons.start("almighty", "/usr/sbin/Almighty")
        wait_until(lambda: _answers(self._server_port), "the server answers", 30)
        for name in ("host", "cpu", "core"):
            self._run(["oarproperty", "-a", name, *(["-c"] if name == "host" else [])])
        core = 0
        for host in self.hosts:
            for _ in range(CORES_PER_HOST):
                self._run(
                    ["oarnodesetting", "-a", "-h", host, "-p", f"host={host}", "-p", f"core={core}", "-p", "deploy=YES"]
                )
                core += 1
        alive = "SELECT count(*) FROM resources WHERE state = 'Alive'"
        wait_until(lambda: self.ask(alive) == [(core,)], "the nodes are alive", 60)


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _known(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


_OAR_CONF = """\
DB_TYPE="Pg"
DB_HOSTNAME="{database}"
DB_PORT="5432"
DB_BASE_NAME="oar"
DB_BASE_LOGIN="oar"
DB_BASE_PASSWD="oar"
DB_BASE_LOGIN_RO="oar_ro"
DB_BASE_PASSWD_RO="oar_ro"
SERVER_HOSTNAME="127.0.0.1"
SERVER_PORT="{server}"
OARSUB_DEFAULT_RESOURCES="/resource_id=1"
OARSUB_NODES_RESOURCES="network_address"
OARSUB_FORCE_JOB_KEY="no"
LOG_LEVEL="3"
LOG_CATEGORIES="all"
LOG_FILE="{folder}/oar.log"
OAREXEC_DEBUG_MODE="0"
OAR_RUNTIME_DIRECTORY="/var/lib/oar"
DEPLOY_HOSTNAME="127.0.0.1"
COSYSTEM_HOSTNAME="127.0.0.1"
DETACH_JOB_FROM_SERVER="1"
OPENSSH_CMD="/usr/bin/ssh -p {ssh} -e none"
FINAUD_FREQUENCY="300"
PINGCHECKER_SENTINELLE_SCRIPT_COMMAND="/usr/lib/oar/sentinelle.pl -t 30 -w 20"
SCHEDULER_TIMEOUT="30"
SCHEDULER_NB_PROCESSES=1
SCHEDULER_JOB_SECURITY_TIME="1"
SCHEDULER_GANTT_HOLE_MINIMUM_TIME="300"
SCHEDULER_RESOURCE_ORDER="scheduler_priority ASC, state_num ASC, network_address ASC, resource_id ASC"
SCHEDULER_RESOURCE_ORDER_ADV_RESERVATIONS="network_address ASC, resource_id ASC"
SCHEDULER_PRIORITY_HIERARCHY_ORDER="network_address/resource_id"
SCHEDULER_AVAILABLE_SUSPENDED_RESOURCE_TYPE="default"
SCHEDULER_FAIRSHARING_MAX_JOB_PER_USER=30
ENERGY_SAVING_INTERNAL="no"
USERS_ALLOWED_HOLD_RESUME="yes"
OARSTAT_DEFAULT_OUTPUT_FORMAT=2
"""

_SSHD_CONFIG = """\
HostKey /etc/oar/oar_ssh_host_rsa_key
Port {port}
ListenAddress 127.0.0.1
StrictModes no
PubkeyAuthentication yes
PasswordAuthentication no
PermitUserEnvironment yes
AcceptEnv OAR_CPUSET OAR_USER_CPUSET OAR_USER_GPUDEVICE OAR_JOB_USER
AllowUsers oar
MaxStartups 1024
PidFile none
UsePAM no
"""
