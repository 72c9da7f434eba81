"""A private Slurm with accounting on loopback: munge, MariaDB, slurmdbd, slurmctld and a slurmd in their own folder.

Needs Debian's packages and root (slurmd starts jobs of other users). Everything that is started is stopped by its
process id; nothing outside the folder is written.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tests.process import free_port, wait_until
from tests.system.daemons import Daemons
from tests.system.debian import PATH, Unavailable, install

PACKAGES = ("slurm-wlm", "slurmdbd", "slurm-wlm-mysql-plugin", "munge", "mariadb-server", "mariadb-client")
_COMMANDS = ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd", "sacct", "sbatch", "mariadb-install-db")
CLUSTER = "jobmetertest"


def install_slurm() -> None:
    """Install Debian's packages when they are missing, without starting any service. Raises Unavailable."""
    if os.geteuid() != 0:
        raise Unavailable("starting slurmd needs root")
    install(PACKAGES, _COMMANDS)


class SlurmCluster:
    """One private cluster. `start` brings it up, `stop` ends every process that `start` made."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="jobmeter-slurm-"))
        self.folder.chmod(0o755)
        self._database_port = free_port()
        self.environment = {
            "PATH": PATH,
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "LC_ALL": "C.UTF-8",
        }
        self.slurmd: tuple[str, ...] = ("slurmd",)
        """How the daemon of a node is started."""
        self._daemons = Daemons(self.folder, self.environment)

    def start(self) -> None:
        for name in ("munge", "state", "spool", "mysql", "jobs"):
            (self.folder / name).mkdir()
        (self.folder / "munge").chmod(0o755)
        (self.folder / "jobs").chmod(0o1777)
        self._write_configuration()
        self._start_munge()
        self._start_database()
        self._start_slurm()

    def stop(self) -> None:
        """End the jobs, then the daemons, then what a job left behind; remove the folder."""
        with suppress(RuntimeError, TimeoutError, subprocess.TimeoutExpired, FileNotFoundError):
            for job in self.run("squeue", "-h", "-o", "%A", timeout=20).stdout.split():
                self.run("scancel", "-s", "KILL", job, check=False, timeout=20)
                self.run("scancel", job, check=False, timeout=20)
            self.wait_idle(20)
        self._daemons.end_all()
        for pid in self._left_behind():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _left_behind(self) -> list[int]:
        """Processes of this cluster: job steps that were still being cleaned up. They carry its configuration."""
        mark = f"SLURM_CONF={self.environment['SLURM_CONF']}".encode()
        found = []
        for folder in Path("/proc").iterdir():
            with suppress(OSError):
                if folder.name.isdigit() and mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
        return found

    def run(self, *argv: str, check: bool = True, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a Slurm command against this cluster; its standard output and error as text."""
        done = subprocess.run(
            argv,
            env=self.environment,
            cwd=self.folder / "jobs",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{argv}: exit {done.returncode}: {done.stderr}")
        return done

    def submit(self, script: str, *options: str, user: str = "root") -> str:
        """Submit a batch script; the job id that sbatch prints."""
        argv = ["sbatch", "--parsable", "-o", "/dev/null", *options]
        if user != "root":
            known = pwd.getpwnam(user)
            argv = ["setpriv", f"--reuid={known.pw_uid}", f"--regid={known.pw_gid}", "--clear-groups", *argv]
        path = self.folder / "jobs" / f"script-{time.monotonic_ns()}.sh"
        path.write_text("#!/bin/bash\n" + script)
        path.chmod(0o755)
        return self.run(*argv, str(path)).stdout.strip().split(";")[0]

    def state(self, job: str) -> str:
        return self.run("squeue", "-h", "-j", job, "-o", "%T", check=False).stdout.strip()

    def running(self, partition: str) -> set[str]:
        return set(self.run("squeue", "-h", "-p", partition, "-t", "R,CG", "-o", "%A").stdout.split())

    def wait_running(self, job: str) -> None:
        wait_until(lambda: self.state(job) == "RUNNING", f"job {job} runs", 90)

    def start_now(self, job: str, *, ended_too: bool = False) -> None:
        """Run a requeued job without Slurm's two minutes of delay; return when it runs, or has ended if allowed."""

        def runs() -> bool:
            state = self.state(job)
            if state == "RUNNING" or (ended_too and not state):
                return True
            self.run("scontrol", "update", f"jobid={job}", "StartTime=now", check=False)
            return False

        try:
            wait_until(runs, f"job {job} runs again", 240)
        except TimeoutError as late:
            late.add_note(self.run("scontrol", "show", "job", job).stdout + self.run("sinfo").stdout)
            raise

    def wait_idle(self, seconds: float = 240.0) -> None:
        try:
            wait_until(lambda: not self.run("squeue", "-h").stdout.strip(), "all jobs have ended", seconds)
        except TimeoutError as late:
            late.add_note(self.run("squeue").stdout + self.run("sinfo").stdout)
            raise

    def _write_configuration(self) -> None:
        folder, host = self.folder, socket.gethostname().split(".")[0]
        controller, database, first, second = (free_port() for _ in range(4))
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        secure = folder / "munge" / "key"
        secure.write_bytes(os.urandom(1024))
        secure.chmod(0o400)
        (folder / "slurm.conf").write_text(
            _SLURM_CONF.format(
                folder=folder,
                host=host,
                cluster=CLUSTER,
                controller=controller,
                first=first,
                second=second,
                database=database,
                memory=max(memory // 4, 512),
                cpus=os.cpu_count() or 1,
            )
        )
        (folder / "cgroup.conf").write_text("")
        (folder / "slurmdbd.conf").write_text(
            _SLURMDBD_CONF.format(folder=folder, port=database, database=self._database_port)
        )
        (folder / "slurmdbd.conf").chmod(0o600)

    def _start_munge(self) -> None:
        munge = self.folder / "munge"
        paths = {"key-file": "key", "socket": "sock", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        self._daemons.start(
            "munged", "munged", "--foreground", *(f"--{key}={munge / name}" for key, name in paths.items())
        )
        wait_until((munge / "sock").exists, "munged answers", 15)

    def _start_database(self) -> None:
        data, sock = self.folder / "mysql", self.folder / "mysql" / "sock"
        user = "--user=root"
        self.run(
            "mariadb-install-db", "--no-defaults", user, f"--datadir={data}",
            "--auth-root-authentication-method=normal", "--skip-test-db", timeout=180,
        )  # fmt: skip
        self._daemons.start(
            "mariadbd", "mariadbd", "--no-defaults", user, f"--datadir={data}", "--bind-address=127.0.0.1",
            f"--port={self._database_port}", f"--socket={sock}", f"--pid-file={data / 'pid'}",
            "--innodb-buffer-pool-size=64M", "--innodb-lock-wait-timeout=900",
        )  # fmt: skip
        ask = ["mariadb", "--no-defaults", f"--socket={sock}", "-uroot", "-e"]
        wait_until(lambda: self.run(*ask, "select 1", check=False).returncode == 0, "mariadbd answers", 90)
        self.run(
            *ask,
            "create database slurm_acct; create user 'slurm'@'%' identified by 'slurmpw';"
            "create user 'slurm'@'localhost' identified by 'slurmpw';"
            "grant all on slurm_acct.* to 'slurm'@'%'; grant all on slurm_acct.* to 'slurm'@'localhost'",
        )

    def _start_slurm(self) -> None:
        self._daemons.start("slurmdbd", "slurmdbd", "-D")
        wait_until(lambda: self._answers("sacctmgr", "-n", "show", "cluster"), "slurmdbd answers", 120)
        self.run("sacctmgr", "-i", "add", "cluster", CLUSTER)
        self.run("sacctmgr", "-i", "add", "account", "physics", "Description=physics", "Organization=test")
        for user in ("root", "nobody"):
            self.run("sacctmgr", "-i", "add", "user", user, "account=physics", "DefaultAccount=physics", check=False)
        self._daemons.start("slurmctld", "slurmctld", "-D")
        wait_until(lambda: self._answers("scontrol", "ping"), "slurmctld answers", 60)
        for node in ("n1", "n2"):
            self._daemons.start(f"slurmd-{node}", *self.slurmd, "-D", "-N", node)
        wait_until(
            lambda: set(self.run("sinfo", "-h", "-o", "%T").stdout.split()) == {"idle"}, "the nodes are idle", 60
        )

    def _answers(self, *argv: str) -> bool:
        return self.run(*argv, check=False).returncode == 0


_SLURM_CONF = """\
ClusterName={cluster}
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/sock
CredType=cred/munge
SlurmctldPort={controller}
SlurmctldPidFile={folder}/state/slurmctld.pid
SlurmdPidFile={folder}/spool/slurmd-%n.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
CommunicationParameters=NoAddrCache
ReturnToService=2
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2
InactiveLimit=0
KillWait=2
MinJobAge=300
SlurmctldTimeout=30
SlurmdTimeout=30
Waittime=0
JobRequeue=1
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={database}
AccountingStoragePass={folder}/munge/sock
AccountingStoreFlags=job_comment
DefMemPerCPU=100
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={first} CPUs={cpus} RealMemory={memory} State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={second} CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=debug Nodes=n1 Default=YES MaxTime=00:10:00 State=UP OverSubscribe=FORCE:8
PartitionName=batch Nodes=n2 MaxTime=1-00:00:00 State=UP OverSubscribe=FORCE:8
"""

_SLURMDBD_CONF = """\
AuthType=auth/munge
AuthInfo=socket={folder}/munge/sock
DbdAddr=127.0.0.1
DbdHost=localhost
DbdPort={port}
SlurmUser=root
LogFile={folder}/slurmdbd-own.log
PidFile={folder}/state/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database}
StorageLoc=slurm_acct
StorageUser=slurm
StoragePass=slurmpw
"""
