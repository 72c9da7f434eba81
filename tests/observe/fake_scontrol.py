"""Stands in for scontrol: prints what a real one was recorded to print.

`python fake_scontrol.py FOLDER ARGUMENTS…`; the folder holds `scontrol.txt`, and `scontrol.json` where the release has
JSON. A file `fault.txt` makes it fail with that text, a file `slow.txt` makes it hang. Every call is noted in
`calls.txt`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main(folder: Path, argv: list[str]) -> int:
    with (folder / "calls.txt").open("a") as calls:
        fixed = {name: os.environ.get(name) for name in ("TZ", "LC_ALL", "SLURM_TIME_FORMAT")}
        calls.write(json.dumps([argv, fixed]) + "\n")
    if (folder / "slow.txt").exists():
        time.sleep(60)
    if (folder / "fault.txt").exists():
        sys.stderr.write((folder / "fault.txt").read_text())
        return 1
    if "--json" in argv and not (folder / "scontrol.json").exists():
        sys.stderr.write("scontrol: unrecognized option '--json'\nTry \"scontrol --help\" for more information\n")
        return 1
    sys.stdout.buffer.write((folder / ("scontrol.json" if "--json" in argv else "scontrol.txt")).read_bytes())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
