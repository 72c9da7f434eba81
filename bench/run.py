"""`make bench`: all measurements on SQLite and on a private PostgreSQL, in one table beside the product's aims.

A measurement is a module of this folder that can be run by itself. It takes `--records N`, and `--database URL` where
a database matters, and prints a line a row: the work, two blanks or more, a number, its unit. Without `--database` it
measures with SQLite in a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.postgresql import create_database, drop_database, private_server

MEASUREMENTS = tuple(
    file.stem
    for file in sorted(Path(__file__).parent.glob("*.py"))
    if file.stem not in {"run", "filled"} and "__main__" in file.read_text(encoding="utf-8")
)
SPOOL_RECORDS_MAX = 200_000
"""The spool is measured with fewer: its rate does not depend on how much is in it."""
DOCUMENTS_MAX = 100_000
"""So many facility documents are posted, each way."""
HISTORY_RECORDS_MAX = 100_000
"""So many jobs of history the collectors read in."""
EPILOGS_MAX = 1000
"""So many epilogs are started at once."""

_ROW = re.compile(r"\s*(?P<work>\S.*?)(?:\s{2,}|:\s+)(?P<value>[\d,]+(?:\.\d+)?)\s+(?P<unit>\S+)(?P<rest>.*)")


class Row(NamedTuple):
    """One measured figure."""

    measurement: str
    database: str
    work: str
    value: float
    unit: str
    rest: str


class Aim(NamedTuple):
    """A figure to reach: for rows whose work matches, at least or at most so much, per database."""

    measurement: str
    work: str
    unit: str
    sqlite: float
    postgresql: float
    at_most: bool = False


AIMS = (
    Aim("store|http", r"(bulk|ingest).*\b1,?000\b", "records/s", 80_000, 40_000),
    Aim("http", r"single|one record a request", "records/s", 12_000, 12_000),
    Aim("store|http|archive", r"^stream", "records/s", 200_000, 200_000),
    Aim("store|http|archive", r"one .*by id", "ms", 5, 5, at_most=True),
    Aim("store|http|archive", r"^first (page|\d+)", "ms", 20, 20, at_most=True),
    Aim("store|http|archive", r"total site", "ms", 100, 100, at_most=True),
    Aim("archive", r"^archived, both", "bytes/record", 25, 25, at_most=True),
    Aim("store", r"^stored", "bytes/record", 700, 700, at_most=True),
    Aim("gather", r"^(?!.*Colmet).*jobs$", "records/s", 10_000, 10_000),
    Aim("samples", r"^values in", "values/s", 250_000, 250_000),
    Aim("samples", r"^at rest, \d+ metrics", "bytes/value", 2, 2, at_most=True),
    Aim("samples", r"^history of a job", "ms", 200, 200, at_most=True),
    Aim("documents", r"document a request|arrays", "documents/s", 5_000, 5_000),
    Aim("facility", r"sessions and host", "ms", 120, 120, at_most=True),
    Aim("facility", r"jobs, \d+ documents a request$", "s", 5, 5, at_most=True),
    Aim("pages", r"^(page (?!jobs, sums).*|painted .*), first$", "ms", 200, 200, at_most=True),
    Aim("node", r"^jobmeter, 20 jobs with 200 processes, 1 s, processor", "percent", 0.25, 0.25, at_most=True),
    Aim("node", r"^jobmeter, 20 jobs with 200 processes, 1 s, memory", "MB", 25, 25, at_most=True),
    Aim("started", r"more than a bare", "ms", 150, 150, at_most=True),
    Aim("started", r"is counted", "percent", 99, 99),
    Aim("facility", r"memory", "MB", 100, 100, at_most=True),
    Aim("report", r"^APEL [^,]*, (first time|again)$", "s", 10, 10, at_most=True),
    Aim("report", r"^APEL .*memory", "MB", 200, 200, at_most=True),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure everything and print the table. 1 when a measurement failed."""
    parser = argparse.ArgumentParser(prog="bench.run", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--only", action="append", choices=MEASUREMENTS, help="this measurement (may be given again)")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), help="this database only")
    arguments = parser.parse_args(argv)
    chosen = arguments.only or MEASUREMENTS
    databases = [arguments.database] if arguments.database else ["sqlite", "postgresql"]
    rows: list[Row] = []
    failed: list[str] = []
    with_database = [name for name in chosen if "--database" in _help(name)]
    if "sqlite" in databases:
        for name in chosen:
            rows += _measured(name, "sqlite", _records(name, arguments.records), failed)
    if "postgresql" in databases and with_database:
        with private_server() as address:
            for name in with_database:
                url = create_database(address, f"bench_{name}")
                rows += _measured(name, "postgresql", [*_records(name, arguments.records), "--database", url], failed)
                drop_database(address, f"bench_{name}")
    print_table(rows, arguments.records)
    for name in failed:
        print(f"FAILED: {name}")
    return 1 if failed or not rows else 0


def _help(name: str) -> str:
    command = [sys.executable, "-m", f"bench.{name}", "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _records(name: str, count: int) -> list[str]:
    if name == "spool":
        count = min(count, SPOOL_RECORDS_MAX)
    elif name == "epilogs":
        count = min(count, EPILOGS_MAX)
    elif name == "documents":
        count = min(count, DOCUMENTS_MAX)
    elif name.startswith("collect"):
        count = min(count, HISTORY_RECORDS_MAX)
    return ["--records", str(count)]


def _measured(name: str, database: str, arguments: list[str], failed: list[str]) -> Iterator[Row]:
    """The rows that a measurement prints; its whole output is passed on as it comes."""
    print(f"--- {name}, {database}", flush=True)
    command = [sys.executable, "-u", "-m", f"bench.{name}", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if (row := parse(line, name, database)) is not None:
                yield row
    if process.returncode:
        failed.append(f"{name} on {database}, exit code {process.returncode}")


def parse(line: str, measurement: str, database: str) -> Row | None:
    """The figure in a line of a measurement's output, or None when it holds none."""
    match = _ROW.fullmatch(line.rstrip())
    if match is None:
        return None
    value = float(match["value"].replace(",", ""))
    return Row(measurement, database, match["work"], value, match["unit"], match["rest"].strip())


def aim_of(row: Row) -> tuple[float, bool] | None:
    """The aim for a row and whether it is reached, or None when the product has none for it."""
    for aim in AIMS:
        if aim.unit != row.unit or re.fullmatch(aim.measurement, row.measurement) is None:
            continue
        if re.search(aim.work, row.work, re.IGNORECASE) is not None:
            bound = aim.sqlite if row.database == "sqlite" else aim.postgresql
            return bound, row.value <= bound if aim.at_most else row.value >= bound
    return None


def print_table(rows: Sequence[Row], records: int) -> None:
    """All figures, the product's aims beside."""
    system = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}"
    print(f"\n{records:,} records; {_processor()}, {system}, Python {platform.python_version()}.")
    print("Load generator, server and database share this machine.", end=" ")
    print("The aims for milliseconds are meant for 10,000,000 records.")
    head = f"{'':<17}{'database':<12}{'work':<44}{'measured':>12} {'unit':<14}{'aim':>9}"
    print(f"{head}\n{'-' * len(head)}")
    for row in rows:
        aim = aim_of(row)
        value = f"{row.value:,.0f}" if row.value >= 1000 else f"{row.value:,.2f}"
        beside = "" if aim is None else f"{aim[0]:>9,.0f} {'reached' if aim[1] else 'MISSED'}"
        line = f"{row.measurement:<17}{row.database:<12}{row.work[:43]:<44}{value:>12} {row.unit:<14}{beside}"
        print(f"{line} {row.rest}".rstrip())


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
