"""What a process has used, by its clock: the cheapest thing that the kernel tells of another process.

Facts: clock_getcpuclockid(3); how the number of a process's clock is made stands in the kernel's posix-timers.h.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from jobmeter.observe.host import Host

_SCHEDULED = 2


def used_ns(process: int) -> int | None:
    """Processor time of all threads, also of those that have ended; None where there is no such process."""
    try:
        return time.clock_gettime_ns(~process << 3 | _SCHEDULED)
    except OSError:
        return None


def clock_of(host: Host) -> Callable[[int], int | None]:
    """What tells how much processes of this machine have used; nothing does for a recorded one."""
    return used_ns if str(host.root) == "/" else lambda _: None
