"""`python -m jobmeter.run.reference FOLDER` writes the reference pages."""

from __future__ import annotations

import sys
from pathlib import Path

from jobmeter.run.reference.pages import write

if __name__ == "__main__":
    write(Path(sys.argv[1]))
