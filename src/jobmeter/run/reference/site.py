"""The documentation as a site: `python -m jobmeter.run.reference.site FOLDER`. Nothing is written of broken links."""

from __future__ import annotations

import sys
from pathlib import Path

from jobmeter.manual.book import faults
from jobmeter.manual.site import write
from jobmeter.manual.tree import tree


def main(folder: Path) -> int:
    """0, or 1 after telling what is wrong."""
    if told := faults(tree()):
        sys.stderr.write("".join(f"{one}\n" for one in told))
        return 1
    sys.stdout.write(f"{write(tree(), folder)} pages in {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
