"""How long the reports of a month take, with the server and the reporter as processes of their own.

    python -m bench.report --records 1000000                                # SQLite in a temporary folder
    python -m bench.report --records 1000000 --database postgresql://…      # an EMPTY database, filled by this

All records end in one month. Memory is the peak of the reporter's process.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path

from msgspec.structs import replace

from bench.http import server
from bench.records import FIRST_STOP, SITES, records, site_name
from jobmeter.model.record import Record
from jobmeter.store.migrate import upgrade
from jobmeter.store.open import open_store

_BATCH = 5000
_APEL = """!Config
plugin: {{time_json_path: {folder}/time.json, recheck_months: 600}}
site:
  sites_to_report:
{sites}
  benchmark_type: hepspec
auditor: {{ip: 127.0.0.1, port: {port}, timeout: 600, site_meta_field: site_id}}
summary_fields:
  mandatory:
    NormalisedWallDuration: !NormalisedField
      score: {{name: HEPSPEC23, component_name: Cores}}
    CpuDuration: !ComponentField {{name: CPUTime}}
    NormalisedCpuDuration: !NormalisedField
      base_value: !ComponentField {{name: CPUTime}}
      score: {{name: HEPSPEC23, component_name: Cores}}
    Processors: !ComponentField {{name: Cores}}
    VO: !MetaField {{name: voms, regex: "(?<=^/)[^/]+"}}
    SubmitHost: !MetaField {{name: submit_host}}
  optional:
    GlobalUserName: !MetaField {{name: user_id}}
    VORole: !MetaField {{name: voms, regex: "Role=[^/]+"}}
"""
_UTILIZATION = """auditor:
  hosts: 127.0.0.1
  port: {port}
  timeout: 600
  component_fields_in_record: {{cores: Cores, benchmark: HEPSPEC23, total_cpu: CPUTime}}
utilization: {{groupedby: user_id, watt_per_core: 5, co2_per_kwh: 0.4}}
"""
_PRIORITY = """auditor: {{addr: 127.0.0.1, port: {port}, timeout: 600}}
components: {{Cores: HEPSPEC23}}
group_mapping: {{grp001: [a], grp002: [b]}}
max_priority: 65335
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print one line a row."""
    parser = argparse.ArgumentParser(prog="bench.report", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--database", metavar="URL", help="default: SQLite in a temporary folder")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="jobmeter-bench-") as name:
        folder = Path(name)
        url = arguments.database or f"sqlite:///{folder}/records.db"
        # Elsewhere: a child's peak of memory, as the kernel tells it, is at least what its parent held when it began.
        filling = multiprocessing.get_context("spawn").Process(target=_fill, args=(url, arguments.records))
        filling.start()
        filling.join()
        if filling.exitcode:
            return 1
        with server(url, folder) as (port, _):
            sites = "\n".join(f'    {site_name(number)}: ["{site_name(number)}"]' for number in range(SITES))
            month = ("--month", str(FIRST_STOP.month), "--year", str(FIRST_STOP.year))
            republish = ("republish", "-s", site_name(1), "-y", str(FIRST_STOP.year), "-m", str(FIRST_STOP.month))
            for work, text, words in (
                ("APEL summaries of all sites, one month", _APEL, ("apel", "publish", "--dry-run", "-c")),
                ("APEL summaries of one site, one month", _APEL, ("apel", *republish, "--dry-run", "-c")),
                ("utilisation by user, one month", _UTILIZATION, ("utilization", *month, "--dry-run", "-c")),
                ("priorities of all jobs", _PRIORITY, ("priority", "--dry-run")),
            ):
                config = folder / "report.yml"
                config.write_text(text.format(folder=folder, sites=sites, port=port))
                _measure(work, ["report", *words, str(config)])
    return 0


def _fill(url: str, count: int) -> None:
    upgrade(url)
    store = open_store(url)
    try:
        made = _in_one_month(count)
        while batch := list(islice(made, _BATCH)):
            store.put(batch)
    finally:
        store.close()


def _in_one_month(count: int) -> Iterator[Record]:
    for record in records(count):
        assert record.stop_time is not None
        length = record.stop_time - record.start_time
        stop = FIRST_STOP + (record.stop_time - FIRST_STOP) / 12.5
        stop -= timedelta(microseconds=stop.microsecond)
        yield replace(record, start_time=stop - length, stop_time=stop)


def _measure(work: str, words: Sequence[str]) -> None:
    command = [sys.executable, "-m", "jobmeter", "--log-level", "error", *words]
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    assert process.returncode == 0, words
    assert printed, words
    print(f"  {work}  {seconds:,.2f} s")
    print(f"  {work}, memory of the reporter  {_mebibytes(usage):,.1f} MiB")


def _mebibytes(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / 1024


if __name__ == "__main__":
    raise SystemExit(main())
