"""Stands in for condor_history: prints what a real one was recorded to print, for the arguments that are given.

`python fake_condor_history.py FOLDER ARGUMENTS…`; the folder holds `history.json`, as `condor_history -json` prints it,
or one such file per schedd, `SCHEDD.json`. Asked for evaluated values it prints `history.values`, recorded for the same
keys with the frame `"entry-0"`, `"value-0"`. It stops at the job that -since names. A file `fault.txt` (or
`SCHEDD.fault.txt`) makes it fail with that text after all is printed. Every call is noted in `calls.txt`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path


def main(folder: Path, argv: list[str]) -> int:
    with (folder / "calls.txt").open("a") as calls:
        calls.write(json.dumps(argv) + "\n")
    schedd = argv[argv.index("-name") + 1] if "-name" in argv else "history"
    name = schedd if (folder / f"{schedd}.json").exists() else "history"
    out = _evaluated(folder, name, argv) if "-af:V" in argv else _objects(folder, name, argv)
    sys.stdout.buffer.write(out)
    sys.stdout.buffer.flush()
    for fault in (folder / "fault.txt", folder / f"{schedd}.fault.txt"):
        if fault.exists():
            sys.stderr.write(fault.read_text())
            return 1
    return 0


def _objects(folder: Path, name: str, argv: list[str]) -> bytes:
    raw = (folder / f"{name}.json").read_bytes()
    try:
        jobs = json.loads(raw.decode("utf-8", "surrogateescape"), strict=False)
    except ValueError:
        return raw  # a case of broken output is printed as it is
    wanted = {key.lower() for key in argv[argv.index("-attributes") + 1].split(",")}
    end = argv[argv.index("-since") + 1] if "-since" in argv else None
    printed = []
    for job in jobs:
        if end is not None and _is(end, job):
            break
        chosen = {key: value for key, value in job.items() if key.lower() in wanted}
        printed.append(json.dumps(chosen, indent=2, ensure_ascii=False))
    return ("[\n" + "\n,\n".join(printed) + "\n]\n").encode("utf-8", "surrogateescape")


def _is(end: str, job: dict[str, object]) -> bool:
    named = dict(re.findall(r'(\w+) == "?([^"&\s]+)"?', end))
    return all(str(job.get(key)) == value for key, value in named.items())


def _evaluated(folder: Path, name: str, argv: list[str]) -> bytes:
    words = argv[argv.index("-af:V") + 1 :]
    head, _, body = (folder / f"{name}.values").read_bytes().partition(b"\n")
    assert head.decode().split("\t") == words[1::2], "the values were recorded for other keys"
    return body.replace(b'"entry-0"', words[0].encode()).replace(b'"value-0"', words[2].encode())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
