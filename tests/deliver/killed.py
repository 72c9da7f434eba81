"""A collector in small that kills itself at its N-th statement, for every N; run as a program by test_kill.py.

`python killed.py FOLDER ADDRESS`: for N from 1 on, a fresh process collects, delivers to ADDRESS/N and is killed by
SIGKILL before its N-th statement, until one lives to the end; prints how many were killed.
"""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobmeter.deliver.pump import Pump
from jobmeter.deliver.settings import SpoolSettings
from jobmeter.deliver.spool import Spool
from jobmeter.sinks.server import Settings, open_sink
from tests.deliver.material import SetClock, batch

BATCHES = 3


def collect_and_deliver(folder: Path, address: str, clock: SetClock) -> bool:
    """Go on from the cursor to the last batch, then deliver what is left."""
    with Spool(folder / "spool.db", SpoolSettings(reserve_bytes=0), clock) as spool:
        sink = open_sink(Settings(address=address, batch_limit=2))
        pump = Pump(spool, sink, threading.Event())
        for number in range(int(spool.cursor("s") or 0), BATCHES):
            names = (f"{number}-a", f"{number}-poison", f"{number}-c")
            spool.absorb("s", batch(*names, cursor=str(number + 1), refused=[f"odd {number}"]))
            pump.cycle()
        done = pump.drain(60)
        sink.close()
        return done


def killing_connect(last: int) -> Callable[..., sqlite3.Connection]:
    """`sqlite3.connect` for connections which kill the process before statement number `last`, all counted together."""
    connect, statements = sqlite3.connect, itertools.count(1)

    def watch(_: str) -> None:
        if next(statements) == last:
            os.kill(os.getpid(), signal.SIGKILL)

    def connect_watched(*args: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*args, **options)
        connection.set_trace_callback(watch)
        return connection

    return connect_watched


def main(root: Path, address: str) -> int:
    for last in itertools.count(1):
        folder = root / str(last)
        folder.mkdir()
        child = os.fork()
        if child == 0:
            vars(sqlite3)["connect"] = killing_connect(last)
            os._exit(0 if collect_and_deliver(folder, f"{address}/{last}", SetClock()) else 3)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.stdout.write(f"{last - 1}\n")
            return os.waitstatus_to_exitcode(status)
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
