"""A writer in small that kills itself at its N-th step; run as a program by test_crash.py.

`python killed.py FOLDER STRIDE`: for N = 1, 1 + STRIDE, … a fresh process fills FOLDER/N and is killed by SIGKILL at
the N-th line that it executes in the modules of the store, until one lives to the end. What it was told to be accepted
stands in FOLDER/N.accepted. Prints how many were killed.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from jobmeter.model.outcome import Accepted
from tests.store_samples.given import batch, opened, sample

BATCHES = 15


def fill(folder: Path, accepted: int) -> None:
    with opened(folder) as writer:
        for number in range(BATCHES):
            (outcome,) = writer.write(batch(sample(number, (number, 1))))
            if isinstance(outcome, Accepted):
                os.write(accepted, b"%d\n" % number)
            if number % 2:
                writer.reopen()
        writer.tidy()


def killing(last: int) -> Callable[[FrameType, str, Any], Any]:
    """A trace function that kills the process at the `last`-th line within the store, in whichever thread."""
    steps = itertools.count(1)

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        del argument
        if "store/samples/" not in frame.f_code.co_filename:
            return None
        if event == "line" and next(steps) >= last:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


def main(root: Path, stride: int) -> int:
    for killed, last in enumerate(itertools.count(1, stride)):
        accepted = os.open(root / f"{last}.accepted", os.O_WRONLY | os.O_CREAT)
        child = os.fork()
        if child == 0:
            threading.settrace(killing(last))
            sys.settrace(killing(last))
            fill(root / str(last), accepted)
            sys.settrace(None)
            os._exit(0)
        os.close(accepted)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.stdout.write(f"{killed}\n")
            return os.waitstatus_to_exitcode(status)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
