"""What `jobmeter doctor` looks at beyond the kernel: batch systems, spools, and the server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from jobmeter.deliver.fault import SpoolFault
from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.observe.host import Host, SystemClock
from jobmeter.peer import Endpoint, Peer, PeerAway, TlsFilesUnusable
from jobmeter.run.doctor.checks import Check, State
from jobmeter.run.up.findings import batch_systems

_OLD_SECONDS = 3600


def of_batch(host: Host, which: Callable[[str], str | None]) -> Iterator[Check]:
    """Each batch system: whether it is here and answers."""
    for found in batch_systems(host, which, ()):
        if found.used:
            yield Check(found.name, State.GOOD, found.note)
        elif found.absent:
            yield Check(found.name, State.NONE, found.note)
        else:
            yield Check(
                found.name, State.WARNING, found.note, f"run the command by hand: {found.meaning} must answer it"
            )


def of_spools(folders: Sequence[Path]) -> Iterator[Check]:
    """What waits in the spools below the folders, and what can never be delivered."""
    files = sorted(
        {file for folder in folders if _is_open(folder) for file in folder.rglob("*.spool") if file.is_file()}
    )
    for file in files:
        yield _spool(file)


def _is_open(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except PermissionError:  # told where room is looked for
        return False


def _spool(file: Path) -> Check:
    name = f"spool {file}"
    if not os.access(file, os.R_OK | os.W_OK):
        return Check(name, State.NONE, "belongs to somebody else; its user or root can look into it")
    try:
        with Spool(file, SpoolSettings(), SystemClock()) as spool:
            status = spool.status()
    except (SpoolFault, OSError) as fault:
        return Check(name, State.BAD, str(fault), f"jobmeter spool {file} status")
    found = f"{status.entries} waiting, {status.letters} dead letters"
    if status.letters:
        return Check(name, State.WARNING, found, f"jobmeter spool {file} letters")
    if (status.oldest_seconds or 0) > _OLD_SECONDS:
        found += f"; the oldest waits {status.oldest_seconds} s"
        return Check(name, State.WARNING, found, "see whether its server answers: jobmeter doctor --server URL")
    return Check(name, State.GOOD, found)


def of_server(
    endpoint: Endpoint, shown: Callable[[], Mapping[str, str]] | None, token_file: str | None
) -> Iterator[Check]:
    """Whether the server answers, and whether it knows what it is shown, the token in the file or another."""
    if (fault := endpoint.fault()) is not None:
        yield Check("server", State.BAD, fault, "give --server http://HOST:PORT")
        return
    try:
        peer = Peer(endpoint, headers=shown)
        health = peer.exchange("GET", "/health_check")
        asked = peer.exchange("GET", "/v2/totals")
        peer.close()
    except TlsFilesUnusable as unusable:
        yield Check("server", State.BAD, str(unusable), "give --ca, --certificate and --key that can be read")
        return
    except (PeerAway, OSError) as reason:
        told = str(reason).removeprefix(f"{endpoint.address}: ")
        yield Check(
            "server", State.WARNING, f"{endpoint.address} does not answer: {told}", "jobmeter up, or --server URL"
        )
        return
    good = health.status == 200
    mend = "" if good else "look into its log"
    yield Check("server", State.GOOD if good else State.BAD, f"{endpoint.address} answers with {health.status}", mend)
    by_variable = "without a token" if shown is None else "with the token in JOBMETER_TOKEN"
    yield _token(asked.status, by_variable if token_file is None else f"with the token in {token_file}")


def _token(status: int, shown: str) -> Check:
    if status == 401:
        return Check("token", State.BAD, f"the server refuses us {shown}", "jobmeter token create NAME --role read")
    if status == 403:
        found = f"the server knows us {shown}, and does not let us read"
        return Check("token", State.WARNING, found, "jobmeter token create NAME --role read, where reading is wanted")
    return Check("token", State.GOOD, f"the server answers us {shown}")
