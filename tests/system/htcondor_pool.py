"""A private HTCondor pool with two schedds on loopback, in its own folder and its own mount and process namespaces.

The daemons run in the Debian 13 of `htcondor_root`. What is mounted for them is seen by them alone, and ending the
first process of their namespace ends them all: nothing outside the pool's folder is changed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.process import free_port, wait_until
from tests.system.htcondor_root import USERS, htcondor_root

SCHEDDS = ("first@", "second@")


class HtcondorPool:
    """One private pool. `start` brings it up, `stop` ends all of it and removes its folder.

    `base_cgroup` is the folder of control groups that slots are made in; none: nothing of the machine's is touched.
    """

    base_cgroup = ""

    def __init__(self) -> None:
        self.root = htcondor_root()
        self.folder = Path(tempfile.mkdtemp(prefix="jobmeter-htcondor-"))
        self.port = free_port()
        self._init: subprocess.Popen[bytes] | None = None
        self._namespaces = 0

    @property
    def commands(self) -> Path:
        """A folder of commands that reach the pool from outside its root, to be put on a PATH."""
        return self.folder / "bin"

    def start(self) -> None:
        self.folder.chmod(0o755)
        for name in (
            "local/log",
            "local/spool",
            "local/execute",
            "local/lock",
            "bin",
            "jobs",
            "passwords",
            "tokens",
            "local/spool2",
        ):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "jobs").chmod(0o1777)
        (self.folder / "passwords" / "POOL").write_bytes(os.urandom(64))
        (self.folder / "passwords" / "POOL").chmod(0o600)
        places = {"folder": self.folder, "port": self.port, "group": self.base_cgroup}
        (self.folder / "condor_config").write_text(_CONFIGURATION.format(**places))
        self._enter()
        self.run("chown", "-R", "condor:condor", str(self.folder / "local"))
        for name in ("condor_history", "condor_q", "condor_status"):
            self._write_command(name)
        self._master()
        wait_until(self._is_up, "schedds and a slot are there", 120)

    def stop(self) -> None:
        if self._init is not None:
            self._init.kill()
            self._init.wait()
        for _ in range(50):  # what the kernel ends with the namespace may still hold files for a moment
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.folder.exists():
                return
            time.sleep(0.1)

    def run(self, *argv: str, user: str = "root", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in the pool; its standard output and error as text."""
        chosen = [] if user == "root" else [f"--userspec={USERS[user]}:{USERS[user]}"]
        done = subprocess.run(
            [*self._entering(), "chroot", *chosen, str(self.root), *argv],
            env=self._environment(user),
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=120,
            check=False,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{argv}: exit {done.returncode}: {done.stderr or done.stdout}")
        return done

    def submit(self, lines: Sequence[str], *, user: str = "alice", schedd: str = "first@", queue: str = "queue") -> str:
        """Submit a description; the number of its cluster."""
        base = (
            "universe = vanilla", "request_memory = 20M", "request_disk = 1M", "request_cpus = 1",
            "should_transfer_files = YES", "when_to_transfer_output = ON_EXIT", "transfer_executable = false",
            f"initialdir = {self.folder}/jobs", "output = /dev/null", "error = /dev/null",
        )  # fmt: skip
        file = self.folder / "jobs" / f"{time.monotonic_ns()}.sub"
        file.write_bytes("\n".join([*base, *lines, queue, ""]).encode("utf-8", "surrogateescape"))
        file.chmod(0o644)
        printed = self.run("condor_submit", "-terse", "-name", schedd, str(file), user=user).stdout
        return printed.split()[-1].partition(".")[0]

    def status_of(self, job: str, schedd: str = "first@") -> str:
        return self.run("condor_q", "-name", schedd, job, "-af", "JobStatus", check=False).stdout.strip()

    def wait_running(self, job: str, schedd: str = "first@") -> None:
        wait_until(lambda: self.status_of(job, schedd).startswith("2"), f"job {job} runs")

    def wait_gone(self, seconds: float = 180) -> None:
        """Return when both queues are empty."""

        def left() -> str:
            argv = ("condor_q", "-allusers", "-af", "ClusterId", "JobStatus", "HoldReason")
            return "".join(self.run(*argv, "-name", schedd).stdout for schedd in SCHEDDS)

        try:
            wait_until(lambda: not left().strip(), "all jobs have ended", seconds)
        except TimeoutError as late:
            late.add_note(left())
            raise

    def stop_daemons(self) -> None:
        self.run("condor_off", "-master", "-fast")
        wait_until(lambda: not self._daemons(), "the daemons have ended", 60)

    def start_daemons(self) -> None:
        self._master()
        wait_until(self._is_up, "schedds and a slot are there", 120)

    def _enter(self) -> None:
        """The namespaces, held by a process that ends with everything in them when it is killed."""
        root, folder = self.root, self.folder
        (root / folder.relative_to("/")).mkdir(parents=True, exist_ok=True)
        # "/" must be a mount point within, or condor_starter cannot change its own namespace.
        script = f"""set -e
mount --bind {root} {root}
mount -t proc proc {root}/proc
mount --rbind /sys {root}/sys
mount --rbind /dev {root}/dev
mkdir -p {root}{folder}
mount --bind {folder} {root}{folder}
echo "127.0.0.1 localhost $(uname -n)" > {folder}/hosts
mount --bind {folder}/hosts {root}/etc/hosts
touch {folder}/ready
exec sleep 86400"""
        self._init = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "sh", "-c", script],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until((folder / "ready").exists, "the pool's namespaces are there", 30)
        children = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text().split()
        self._namespaces = int(children[0])

    def _entering(self) -> list[str]:
        return ["nsenter", f"--target={self._namespaces}", "--mount", "--pid"]

    def _environment(self, user: str) -> dict[str, str]:
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "CONDOR_CONFIG": str(self.folder / "condor_config"),
            "USER": user,
            "LC_ALL": "C.UTF-8",
        }

    def _write_command(self, name: str) -> None:
        entering = " ".join([*self._entering(), "chroot", str(self.root)])
        file = self.commands / name
        file.write_text(
            f'#!/bin/sh\nexport CONDOR_CONFIG={self.folder}/condor_config\nexec {entering} /usr/bin/{name} "$@"\n'
        )
        file.chmod(0o755)

    def _master(self) -> None:
        with (self.folder / "master.log").open("ab") as log:
            subprocess.Popen(
                [*self._entering(), "chroot", str(self.root), "condor_master"],
                env=self._environment("root"), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            ).wait(60)  # fmt: skip

    def _daemons(self) -> list[str]:
        return self.run("pgrep", "--runstates", "DRS", "-l", "condor_", check=False).stdout.split("\n")[:-1]

    def _is_up(self) -> bool:
        schedds = self.run("condor_status", "-schedd", "-af", "Name", check=False).stdout.split()
        slots = self.run("condor_status", "-af", "Name", check=False).stdout.split()
        return len(schedds) == len(SCHEDDS) and bool(slots)


_CONFIGURATION = """\
LOCAL_DIR = {folder}/local
LOG = $(LOCAL_DIR)/log
SPOOL = $(LOCAL_DIR)/spool
EXECUTE = $(LOCAL_DIR)/execute
LOCK = $(LOCAL_DIR)/lock
RUN = $(LOCAL_DIR)/lock
RELEASE_DIR = /usr
LIBEXEC = /usr/libexec/condor
BIN = /usr/bin
SBIN = /usr/sbin
LIB = /usr/lib/condor
CONDOR_HOST = 127.0.0.1
COLLECTOR_HOST = 127.0.0.1:{port}
SHARED_PORT_PORT = {port}
NETWORK_INTERFACE = 127.0.0.1
BIND_ALL_INTERFACES = False
NO_DNS = True
DEFAULT_DOMAIN_NAME = test.local
UID_DOMAIN = test.local
FILESYSTEM_DOMAIN = test.local
TRUST_UID_DOMAIN = True
SOFT_UID_DOMAIN = True
DAEMON_LIST = MASTER COLLECTOR NEGOTIATOR SCHEDD SCHEDD2 STARTD
SCHEDD_NAME = first@
SCHEDD2 = $(SBIN)/condor_schedd
SCHEDD2_ARGS = -local-name SECOND
SCHEDD2_LOG = $(LOG)/SecondScheddLog
SECOND.SCHEDD_NAME = second@
SECOND.SCHEDD_LOG = $(LOG)/SecondScheddLog
SECOND.SPOOL = $(LOCAL_DIR)/spool2
SECOND.HISTORY = $(LOCAL_DIR)/spool2/history
SECOND.SCHEDD_ADDRESS_FILE = $(LOCAL_DIR)/spool2/.schedd_address
SECOND.SCHEDD_DAEMON_AD_FILE = $(LOCAL_DIR)/spool2/.schedd_classad
SEC_DEFAULT_AUTHENTICATION_METHODS = FS, IDTOKENS, PASSWORD
SEC_PASSWORD_DIRECTORY = {folder}/passwords
SEC_TOKEN_SYSTEM_DIRECTORY = {folder}/tokens
SEC_TOKEN_POOL_SIGNING_KEY_FILE = {folder}/passwords/POOL
ALLOW_READ = *
ALLOW_WRITE = *
ALLOW_DAEMON = *
ALLOW_NEGOTIATOR = *
ALLOW_ADMINISTRATOR = *
ALLOW_ADVERTISE_MASTER = *
ALLOW_ADVERTISE_STARTD = *
ALLOW_ADVERTISE_SCHEDD = *
QUEUE_SUPER_USERS = root, condor
START = True
SUSPEND = False
PREEMPT = False
KILL = False
NUM_SLOTS_TYPE_1 = 1
SLOT_TYPE_1 = 100%
SLOT_TYPE_1_PARTITIONABLE = True
NUM_CPUS = 8
MEMORY = 4000
DISK = 10000000
STARTD_DETECT_GPUS =
NEGOTIATOR_INTERVAL = 2
NEGOTIATOR_CYCLE_DELAY = 1
NEGOTIATOR_MIN_INTERVAL = 1
SCHEDD_INTERVAL = 5
SCHEDD_MIN_INTERVAL = 1
UPDATE_INTERVAL = 5
STARTER_UPDATE_INTERVAL = 3
STARTER_INITIAL_UPDATE_INTERVAL = 1
SHADOW_QUEUE_UPDATE_INTERVAL = 3
PERIODIC_EXPR_INTERVAL = 5
MAX_PERIODIC_EXPR_INTERVAL = 5
HISTORY = $(SPOOL)/history
STARTD_ATTRS = $(STARTD_ATTRS) ApelSpecs
ApelSpecs = "HEPSPEC 13.7; HEPscore23: 12.5"
SYSTEM_JOB_MACHINE_ATTRS = Cpus, SlotWeight, ApelSpecs
BASE_CGROUP = {group}
DISCARD_SESSION_KEYRING_ON_STARTUP = False
MAIL = /bin/true
"""
