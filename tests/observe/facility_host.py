"""A host made of files and of commands that print what was recorded."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from jobmeter.observe.host import Host

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Clock:
    def __init__(self, now: datetime = NOW) -> None:
        self.moment = now

    def now(self) -> datetime:
        return self.moment


class Machine:
    """A host below `folder`. Commands are scripts of its own; none of the real machine's are found."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.bin = folder / "bin"
        self.clock = Clock()
        for made in (self.root, self.bin):
            made.mkdir(parents=True, exist_ok=True)

    @property
    def host(self) -> Host:
        return Host(self.root, self.clock, {"PATH": str(self.bin), "HOME": "/nowhere"}, self._name())

    def _name(self) -> str:
        file = self.root / "proc/sys/kernel/hostname"
        return file.read_text().strip() if file.exists() else "here"

    def file(self, path: str, content: str | bytes) -> Path:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def command(self, name: str, printed: str | bytes, status: int = 0) -> None:
        """A command that prints this; it writes its arguments to NAME.asked."""
        output = self.bin / f"{name}.out"
        output.write_bytes(printed.encode() if isinstance(printed, str) else printed)
        script = self.bin / name
        script.write_text(
            f'#!/bin/sh\nfor word; do echo "$word"; done > {script}.asked\n/bin/cat {output}\nexit {status}\n'
        )
        script.chmod(0o755)

    def asked(self, name: str) -> list[str]:
        return (self.bin / f"{name}.asked").read_text().splitlines()


def this_path(*folders: Path) -> str:
    return os.pathsep.join([*map(str, folders), os.environ["PATH"]])
