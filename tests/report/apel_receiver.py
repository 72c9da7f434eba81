"""A receiver of APEL's messages, from schemas/server.sql and apel/db/records alone; it shares nothing with ours.

Rows are replaced by key. Like MariaDB as it is set up by default it refuses a text that is too wide, and minds neither
case nor blanks at the end. What it does not take raises Refused.
"""

from __future__ import annotations

import re
from typing import Final

Row = dict[str, str]

_LOOKED_UP: Final = ("Site", "GlobalUserName", "VO", "VORole", "VOGroup", "SubmitHost")
_WIDE: Final = {"Infrastructure": 20, "InfrastructureDescription": 100}


class Refused(Exception):  # noqa: N818 - what became of the message
    """The message is thrown away as a whole."""


class Receiver:
    """The tables of summaries and of counts to check them by."""

    def __init__(self) -> None:
        self.summaries: dict[tuple[str, ...], Row] = {}
        self.counts: dict[tuple[str, ...], Row] = {}

    def take(self, text: str) -> None:
        """Load a message."""
        header, rest = text.split("\n", 1)
        rows = [_row(part) for part in rest.split("%%") if part.strip()]
        if header == "APEL-sync-message: v0.1":
            for row in rows:
                self.counts[_key(row, ("Site", "SubmitHost", "Month", "Year"))] = row
            return
        assert header in {"APEL-normalised-summary-message: v0.4", "APEL-summary-job-message: v0.3"}
        for row in rows:
            if "None" in {row.get("NodeCount", "None"), row.get("Processors", "None")}:
                raise Refused("a column cannot be null")
            kind = re.match(r"\{(\w+):", row["NormalisedWallDuration"])
            key = (*_LOOKED_UP, "Month", "Year", "Infrastructure", "NodeCount", "Processors")
            self.summaries[(*_key(row, key), kind[1] if kind else "")] = row

    def sums(self) -> dict[str, int]:
        """What the tables add up to."""
        names = ("NumberOfJobs", "WallDuration", "CpuDuration")
        return {name: sum(int(row[name]) for row in self.summaries.values()) for name in names}

    def counted(self) -> int:
        """The jobs of the messages to check by."""
        return sum(int(row["NumberOfJobs"]) for row in self.counts.values())


def _row(text: str) -> Row:
    row: Row = {}
    for line in text.strip().splitlines():
        name, colon, value = line.partition(":")
        if not colon:
            raise Refused(f"no key: {line}")
        value = value.strip()
        if len(value) > _WIDE.get(name, 255):
            raise Refused(f"too wide: {name}")
        row[name.strip()] = "None" if value.lower() in {"none", "null", ""} else value
    return row


def _key(row: Row, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(row.get(name, "None").lower().rstrip() for name in names)
