"""Other Python processes, for tests of what several do at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parent.parent


def started(code: str, *arguments: str) -> subprocess.Popen[str]:
    """A process that runs `code` with our packages in reach; its output is to be read with `communicate`."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(_ROOT / "src"), str(_ROOT)])}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )
