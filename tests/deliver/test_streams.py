"""Which frames came: noted by one thread, saved by another."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from jobmeter.deliver.streams import Streams


class Ring:
    """Ends in the garbage collector, which lets another thread run in the midst of whatever was going on."""

    def __init__(self) -> None:
        self.me = self

    def __del__(self) -> None:
        time.sleep(0)


def test_streams_can_be_saved_while_frames_come(tmp_path: Path) -> None:
    file = tmp_path / "streams"
    streams = Streams(file)
    for number in range(2000):
        streams.note(f"n{number}", 1, 1, 0)
    stop = threading.Event()

    def come() -> None:
        sequence = 1
        while not stop.is_set():
            sequence += 1
            Ring()
            for number in range(0, 2000, 7):
                streams.note(f"n{number}", 1, sequence, 0)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    thread = threading.Thread(target=come)
    thread.start()
    try:
        for _ in range(100):
            streams.save()
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(before)
    assert Streams(file).nodes() == 2000
