"""How long the reports of a month take, with the server and the reporter as processes of their own.

    python -m bench.report --records 1000000                                # SQLite in a temporary folder
    python -m bench.report --records 1000000 --database postgresql://…      # an EMPTY database, filled by this
    python -m bench.report --harsh                                          # tens of thousands of groups

All records end in one month, and the rollups are made, as they are where records come in over a month. A report is
asked for twice: what it needs of a day is summed the first time, and kept. Memory is the most
that the process named took.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path

from msgspec.structs import replace

from bench import site_month
from bench.http import memory_bytes, processor_seconds, server
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
    parser.add_argument("--harsh", action="store_true", help="records that fall into as many groups as they can")
    parser.add_argument("--database", metavar="URL", help="default: SQLite in a temporary folder")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="jobmeter-bench-") as name:
        folder = Path(name)
        url = arguments.database or f"sqlite:///{folder}/records.db"
        # Elsewhere: a child's peak of memory, as the kernel tells it, is at least what its parent held when it began.
        filling = multiprocessing.get_context("spawn").Process(
            target=_fill, args=(url, arguments.records, arguments.harsh)
        )
        filling.start()
        filling.join()
        if filling.exitcode:
            return 1
        with server(url, folder) as (port, of_server):
            sites = "\n".join(f'    {name}: ["{name}"]' for name in _site_names(arguments.harsh))
            month = ("--month", str(FIRST_STOP.month), "--year", str(FIRST_STOP.year))
            republish = ("republish", "-s", site_name(1), "-y", str(FIRST_STOP.year), "-m", str(FIRST_STOP.month))
            for work, text, words in (
                ("APEL summaries of all sites, first time", _APEL, ("apel", "publish", "--dry-run", "-c")),
                ("APEL summaries of all sites, again", _APEL, ("apel", "publish", "--dry-run", "-c")),
                ("APEL summaries of one site, again", _APEL, ("apel", *republish, "--dry-run", "-c")),
                ("utilisation by user, first time", _UTILIZATION, ("utilization", *month, "--dry-run", "-c")),
                ("utilisation by user, again", _UTILIZATION, ("utilization", *month, "--dry-run", "-c")),
                ("priorities of all jobs", _PRIORITY, ("priority", "--dry-run")),
            ):
                config = folder / "report.yml"
                config.write_text(text.format(folder=folder, sites=sites, port=port))
                _measure(work, ["report", *words, str(config)], of_server)
    return 0


def _site_names(harsh: bool) -> list[str]:
    return [site_name(number) for number in range(SITES if harsh else site_month.SITES)]


def _fill(url: str, count: int, harsh: bool) -> None:
    upgrade(url)
    store = open_store(url)
    try:
        made = _in_one_month(count) if harsh else site_month.records(count)
        while batch := list(islice(made, _BATCH)):
            store.put(batch)
        while store.fold():
            pass
    finally:
        store.close()


def _in_one_month(count: int) -> Iterator[Record]:
    for record in records(count):
        assert record.stop_time is not None
        length = record.stop_time - record.start_time
        stop = FIRST_STOP + (record.stop_time - FIRST_STOP) / 12.5
        stop -= timedelta(microseconds=stop.microsecond)
        yield replace(record, start_time=stop - length, stop_time=stop)


def _measure(work: str, words: Sequence[str], of_server: int) -> None:
    command = [sys.executable, "-m", "jobmeter", "--log-level", "error", *words]
    most_bytes, status = memory_bytes(of_server), None
    before = processor_seconds(of_server)
    with tempfile.TemporaryFile() as printed:
        started = time.perf_counter()
        process = os.posix_spawn(
            command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, printed.fileno(), 1)]
        )
        while status is None:
            time.sleep(0.02)
            most_bytes = max(most_bytes, memory_bytes(of_server))
            ended, code, usage = os.wait4(process, os.WNOHANG)
            status = os.waitstatus_to_exitcode(code) if ended else None
        seconds = time.perf_counter() - started
        assert status == 0, words
        assert printed.tell(), words
    print(f"  {work}  {seconds:,.2f} s")
    both = processor_seconds(of_server) - before + usage.ru_utime + usage.ru_stime
    print(f"  {work}, processor time of reporter and server  {both:,.2f} s")
    print(f"  {work}, memory of the reporter  {usage.ru_maxrss * 1024 / 1e6:,.1f} MB")
    print(f"  {work}, memory of the server  {most_bytes / 1e6:,.1f} MB", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
