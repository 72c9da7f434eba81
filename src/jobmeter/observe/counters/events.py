"""The events by name, and the opening of their counters: perf_event_open(2), called through the C library."""

from __future__ import annotations

import ctypes
import os
import struct

from msgspec import Struct

_HARDWARE, _SOFTWARE, _CACHE = 0, 1, 3
_READ, _PREFETCH = 0 << 8, 2 << 8

EVENTS: dict[str, tuple[int, int]] = {
    "cpu_cycles": (_HARDWARE, 0),
    "instructions": (_HARDWARE, 1),
    "cache_references": (_HARDWARE, 2),
    "cache_misses": (_HARDWARE, 3),
    "branch_instructions": (_HARDWARE, 4),
    "branch_misses": (_HARDWARE, 5),
    "bus_cycles": (_HARDWARE, 6),
    "ref_cpu_cycles": (_HARDWARE, 9),
    "cache_l1d": (_CACHE, 0 | _READ),
    "cache_ll": (_CACHE, 2 | _READ),
    "cache_dtlb": (_CACHE, 3 | _READ),
    "cache_itlb": (_CACHE, 4 | _READ),
    "cache_bpu": (_CACHE, 5 | _READ),
    "cache_node": (_CACHE, 6 | _READ),
    "cache_op_read": (_CACHE, 0 | _READ),
    "cache_op_prefetch": (_CACHE, 0 | _PREFETCH),
    "cache_result_access": (_CACHE, 0 | _READ),
    "cpu_clock": (_SOFTWARE, 0),
    "task_clock": (_SOFTWARE, 1),
    "page_faults": (_SOFTWARE, 2),
    "context_switches": (_SOFTWARE, 3),
    "cpu_migrations": (_SOFTWARE, 4),
    "page_faults_min": (_SOFTWARE, 5),
    "page_faults_maj": (_SOFTWARE, 6),
    "alignment_faults": (_SOFTWARE, 7),
    "emulation_faults": (_SOFTWARE, 8),
    "dummy": (_SOFTWARE, 9),
    "bpf_output": (_SOFTWARE, 10),
}
"""Type and number of each event that Colmet has a name for. Names of caches count what is read from them."""

_NUMBERS = {
    "x86_64": 298,
    "aarch64": 241,
    "riscv64": 241,
    "loongarch64": 241,
    "ppc64le": 319,
    "ppc64": 319,
    "s390x": 331,
}
"""The number of the system call by machine, from the kernel's tables."""

_ATTRIBUTES_BYTES = 112
_TIMES = 1 | 2
_PID_IS_GROUP, _CLOSE_ON_EXEC = 4, 8
_VALUE = struct.Struct("=QQQ")


class NoCounters(OSError):  # noqa: N818 - the name says the fact
    """This machine cannot count events at all."""


class Opener:
    """Opens counters for control groups. Raises NoCounters on a machine whose system call is not known."""

    def __init__(self) -> None:
        number = _NUMBERS.get(os.uname().machine)
        if number is None:
            raise NoCounters(f"no counting of events on {os.uname().machine}")
        self._number = number
        self._library = ctypes.CDLL(None, use_errno=True)

    def open(self, event: str, group: int, processor: int) -> int:
        """A descriptor that counts an event of a control group (an open folder) on a processor. Raises OSError."""
        kind, config = EVENTS[event]
        attributes = bytearray(_ATTRIBUTES_BYTES)
        struct.pack_into("=IIQ", attributes, 0, kind, _ATTRIBUTES_BYTES, config)
        struct.pack_into("=Q", attributes, 32, _TIMES)
        memory = (ctypes.c_char * _ATTRIBUTES_BYTES).from_buffer(attributes)
        found = self._library.syscall(
            ctypes.c_long(self._number),
            memory,
            ctypes.c_int(group),
            ctypes.c_int(processor),
            ctypes.c_int(-1),
            ctypes.c_ulong(_PID_IS_GROUP | _CLOSE_ON_EXEC),
        )
        if found < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return int(found)


class Count(Struct, frozen=True):
    """What counters of one event say: the count, and how long it was wanted and really counted, in nanoseconds."""

    value: int
    enabled_ns: int
    running_ns: int

    @property
    def scaled(self) -> int:
        """The count as if there had been a counter all the time. Only as good as the time it was counted is typical."""
        if self.running_ns in (0, self.enabled_ns):
            return self.value
        return self.value * self.enabled_ns // self.running_ns


def read(descriptor: int) -> Count:
    """What a counter says now. Raises OSError."""
    return Count(*_VALUE.unpack(os.read(descriptor, _VALUE.size)))
