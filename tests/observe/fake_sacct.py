"""Stands in for sacct: prints what a real one was recorded to print, in the columns and with the delimiter asked for.

`python fake_sacct.py FOLDER ARGUMENTS…`; the folder holds `sacct.txt` (a table with all columns, delimited by the
first character of its header that is no letter; a line break within a field stands as U+2424), `version.txt`, and
`sacct.json` where the release has JSON. A file `fault.txt` makes it fail with that text. Every call is noted in
`calls.txt`.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

_SHORT = {
    "BF": "BOOT_FAIL", "CA": "CANCELLED", "CD": "COMPLETED", "DL": "DEADLINE", "F": "FAILED", "NF": "NODE_FAIL",
    "OOM": "OUT_OF_MEMORY", "PR": "PREEMPTED", "RQ": "REQUEUED", "TO": "TIMEOUT", "R": "RUNNING", "PD": "PENDING",
}  # fmt: skip


def main(folder: Path, argv: list[str]) -> int:
    with (folder / "calls.txt").open("a") as calls:
        fixed = {name: os.environ.get(name) for name in ("TZ", "LC_ALL", "SLURM_TIME_FORMAT", "SACCT_FORMAT")}
        calls.write(json.dumps([argv, fixed]) + "\n")
    if argv == ["--version"]:
        sys.stdout.write((folder / "version.txt").read_text())
        return 0
    if (folder / "fault.txt").exists():
        sys.stderr.write((folder / "fault.txt").read_text())
        return 1
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    states = {_SHORT.get(name, name) for name in _option(argv, "-s").split(",") if name}
    if "--json" in argv:
        sys.stdout.write(_document(folder, states))
    else:
        _print_table(folder, argv, states)
    return 0


def _document(folder: Path, states: set[str]) -> str:
    text = (folder / "sacct.json").read_text()
    try:
        document = json.loads(text)
        document["jobs"] = [job for job in document["jobs"] if not states or _state(job) & states]
    except (ValueError, KeyError, TypeError):
        return text
    return json.dumps(document)


def _state(job: dict[str, dict[str, object]]) -> set[object]:
    current = job["state"]["current"]
    return set(current) if isinstance(current, list) else {current}


def _print_table(folder: Path, argv: list[str], states: set[str]) -> None:
    lines = (folder / "sacct.txt").read_text().split("\n")
    found = re.search(r"[^A-Za-z]", lines[0])
    delimiter = "|" if found is None else found[0]
    names = [name.lower() for name in lines[0].split(delimiter)]
    columns = [names.index(name.lower()) for name in _option(argv, "--format").split(",")]
    mark = next(word.partition("=")[2] for word in argv if word.startswith("--delimiter="))
    jobs = set(_option(argv, "-j").split(",")) - {""}
    taken = False
    for line in lines[1:]:
        fields = line.split(delimiter)
        if not line:
            continue
        if "." not in fields[names.index("jobid")]:
            taken = not states or fields[names.index("state")].split()[0] in states
            taken = taken and (not jobs or fields[names.index("jobidraw")] in jobs)
        elif "-X" in argv:
            continue
        if taken:
            sys.stdout.write(mark.join(fields[column].replace("\u2424", "\n") for column in columns) + "\n")


def _option(argv: list[str], name: str) -> str:
    return argv[argv.index(name) + 1] if name in argv else ""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
