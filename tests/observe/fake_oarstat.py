"""Stands in for oarstat and oarnodes: prints the jobs of a recorded document that the SQL given to it selects.

`python fake_oarstat.py FOLDER NAME ARGUMENTS…`; the folder holds `oarstat.json` and `oarnodes.json`. A file `fault.txt`
is printed on the standard error, as OAR does when its database fails, with status 0. Every call is noted.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path


def main(folder: Path, name: str, argv: list[str]) -> int:
    with (folder / "calls.txt").open("a") as noted:
        noted.write(json.dumps([name, *argv]) + "\n")
    fault = folder / "fault.txt"
    if fault.exists():
        sys.stderr.write(fault.read_text())
    text = (folder / f"{name}.json").read_bytes()
    if name == "oarstat":
        text = _selected(text, argv[argv.index("--sql") + 1])
    sys.stdout.buffer.write(text)
    return 0


def _selected(text: bytes, where: str) -> bytes:
    start, stop = (int(found) for found in re.findall(r"stop_time (?:>=|<) (\d+)", where))
    try:
        jobs = json.loads(text)
    except ValueError:
        return text
    chosen = {
        number: job
        for number, job in jobs.items()
        if start <= (job.get("stopTime") or job.get("submissionTime", 0)) < stop
    }
    return json.dumps(chosen).encode() if chosen else b""


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
