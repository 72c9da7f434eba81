"""Measurements of speed and cost; see `bench.run`.

What is measured is started as it is when it is installed: from compiled files. Where Python may not write them by
itself (PYTHONDONTWRITEBYTECODE), missing ones would make each start slower, and every process larger.
"""

import compileall
from pathlib import Path

import jobmeter

compileall.compile_dir(Path(jobmeter.__file__).parent, quiet=2)
