"""Archives the database of the first argument, and kills itself at the step of the third, when that comes.

python -m tests.store.archive.killed URL FOLDER STEP
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from jobmeter.store.archive.moving import Plan, archive_old
from jobmeter.store.open import open_store
from tests.store.archive.material import NOW


def main(url: str, folder: str, last: str) -> None:
    def step(name: str) -> None:
        if name == last:
            os.kill(os.getpid(), signal.SIGKILL)

    store = open_store(url)
    with store.shelf() as shelf:
        for _ in archive_old(shelf, Plan(Path(folder), 1, file_records=70), NOW, step):
            pass
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
