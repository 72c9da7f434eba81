"""The files by which Colmet says what its numbered counters are: `NAME_mapping.SECONDS.csv` in the working folder."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from jobmeter.observe.host import Host

log = logging.getLogger("jobmeter.observe")


def write_mapping(host: Host, folder: str, name: str, lines: Sequence[str]) -> None:
    """Write the file. One that cannot be written is said, and hinders nothing."""
    file = Path(folder) / f"{name}_mapping.{host.clock.now().timestamp()}.csv"
    try:
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    except OSError as fault:
        log.warning("mapping.not_written file=%s reason=%r", file, fault.strerror)
