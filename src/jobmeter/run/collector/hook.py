"""What runs when a batch system announces a job that ended: keep the announcement, ask, store, return.

The batch system waits for this, and may take a node out of service when it fails. So the answer is 0 unless the
settings want otherwise, whatever happened; the announcement is kept and the job asked for again. Delivery goes on in a
detached process, unless somebody delivers this spool already.
"""

from __future__ import annotations

import logging
import os
import stat
import sys
import time
from pathlib import Path

from jobmeter.contract import SourceUnreadable
from jobmeter.deliver.announcements import Announcement, Announcements
from jobmeter.deliver.fault import SpoolFault
from jobmeter.deliver.turn import Turn
from jobmeter.observe.host import Host
from jobmeter.run.collector.opening import open_spool
from jobmeter.run.collector.plugin import Deployed, Plugin
from jobmeter.settings.deployment import Deployment, Hook

log = logging.getLogger("jobmeter.run")


def take(plugin: Plugin, settings: Deployed, hook: Hook, job: str, host: Host) -> int:
    """Take the job that the host's environment names. The exit status for the batch system."""
    deployment = settings.deployment
    _log_to_file(deployment)
    announcements = Announcements(deployment.spool_file)
    announcement = _kept(announcements, hook, job, host)
    try:
        with open_spool(deployment) as spool:
            for batch in plugin.open_source(settings, host).read(None):
                done = spool.absorb(deployment.source, batch)
                log.info(
                    "hook.taken job=%s queued=%d repeated=%d refused=%d", job, done.queued, done.repeated, done.buried
                )
                for entry in batch.refused:
                    log.error("hook.refused job=%s reason=%r", job, entry.reason)
    except (SourceUnreadable, SpoolFault, OSError) as fault:
        _tell(f"hook.not_taken job={job!r} kept={announcement is not None} reason={str(fault)!r}")
        status = hook.failure_exit_status
    except Exception as fault:  # a supervisor: whatever went wrong here, no node may be drained for it
        log.exception("hook.failed job=%s", job)
        _tell(f"hook.not_taken job={job!r} kept={announcement is not None} reason={fault!r}")
        status = hook.failure_exit_status
    else:
        if announcement is not None:
            announcements.remove(announcement)
        status = 0
    if announcement is not None:
        announcements.let_go(announcement)
    _deliver_detached(plugin, settings, hook, host)
    return status


def misconfigured(spool: Path, hook: Hook, job: str, host: Host, fault: Exception) -> int:
    """The settings cannot be used: keep the announcement where it is found once they can. 0, as above."""
    announcements = Announcements(spool)
    announcement = _kept(announcements, hook, job, host)
    if announcement is not None:
        announcements.let_go(announcement)
    sys.stderr.write(f"{fault}\n")
    _tell(f"hook.misconfigured job={job!r} kept={announcement is not None} reason={str(fault)!r}")
    return 0


def _kept(announcements: Announcements, hook: Hook, job: str, host: Host) -> Announcement | None:
    kept = {name: host.environment[name] for name in hook.kept_variables if name in host.environment}
    try:
        return announcements.add(job, kept, host.clock.now())
    except OSError as fault:
        _tell(f"hook.not_kept job={job!r} reason={str(fault)!r}")
        return None


def _tell(event: str) -> None:
    """Log a failure, also where someone looks: what a hook prints is often thrown away."""
    import syslog  # noqa: PLC0415 - only when something is wrong

    log.error(event)
    syslog.openlog("jobmeter", syslog.LOG_PID, syslog.LOG_DAEMON)
    syslog.syslog(syslog.LOG_ERR, event.replace("\0", " "))


def _log_to_file(deployment: Deployment) -> None:
    # Many of these run at once, so nobody rotates the file here.
    settings = deployment.logging
    if settings is None or not settings.log_to_file:
        return
    root = logging.getLogger()
    try:
        Path(settings.log_dir).mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(Path(settings.log_dir, f"{settings.log_file_prefix}.log"), encoding="utf-8")
    except OSError as fault:
        _tell(f"hook.no_log_file reason={str(fault)!r}")
        return
    if root.handlers:
        handler.setFormatter(root.handlers[0].formatter)
    root.addHandler(handler)


def _deliver_detached(plugin: Plugin, settings: Deployed, hook: Hook, host: Host) -> None:
    """Let another process deliver, which the batch system does not wait for and which ends by itself."""
    turn = Turn(settings.deployment.spool_file)
    try:
        if hook.deliver_seconds <= 0 or not turn.is_free():
            return
        child = os.fork()
    except OSError as fault:
        log.warning("hook.no_delivery reason=%r", str(fault))
        return
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork() == 0:
            _let_go()
            _deliver(plugin, settings, hook, host, turn)
    except Exception:  # a supervisor: this process must end here, whatever happened, and nobody waits for its status
        log.exception("hook.delivery_failed")
    finally:
        os._exit(0)


def _let_go() -> None:
    """Hold nothing that the batch system may wait for. A file as standard error is kept: events go there."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    if not stat.S_ISREG(os.fstat(2).st_mode):
        os.dup2(null, 2)


def _deliver(plugin: Plugin, settings: Deployed, hook: Hook, host: Host, turn: Turn) -> None:
    deadline = time.monotonic() + hook.deliver_seconds
    while (left := deadline - time.monotonic()) > 0:
        with turn.taken() as ours:
            if not ours:
                return
            from jobmeter.run.collector.collecting import deliver_announced  # noqa: PLC0415 - only the one whose turn it is needs it

            deliver_announced(plugin, settings, host, left)
        # Whoever stored a record while it was our turn left the delivery to us.
        with open_spool(settings.deployment) as spool:
            if spool.next_due_seconds() != 0:
                return
