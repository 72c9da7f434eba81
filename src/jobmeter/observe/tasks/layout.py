"""The kernel's `struct taskstats`, by its version and length.

Facts: include/uapi/linux/taskstats.h. Fields are only ever added, at the end; but version 15 put the longest and the
shortest delay behind each delay, and version 16 took them to the end again.
"""

from __future__ import annotations

import struct

from msgspec import Struct

FIELDS = (
    *("cpu_count", "cpu_delay_total", "blkio_count", "blkio_delay_total", "swapin_count", "swapin_delay_total"),
    *("cpu_run_real_total", "cpu_run_virtual_total", "ac_btime", "ac_etime", "ac_utime", "ac_stime"),
    *("ac_minflt", "ac_majflt", "coremem", "virtmem", "read_char", "write_char", "read_syscalls", "write_syscalls"),
    *("read_bytes", "write_bytes", "cancelled_write_bytes", "nvcsw", "nivcsw", "ac_utimescaled", "ac_stimescaled"),
    *("cpu_scaled_run_real_total", "freepages_count", "freepages_delay_total"),
)
"""The fields that are read, in the order of a row."""

BEGIN, ELAPSED = FIELDS.index("ac_btime"), FIELDS.index("ac_etime")
RUN = FIELDS.index("cpu_run_virtual_total")

_LEAST_VERSION, _LEAST_BYTES = 4, 328
_ODD_VERSION, _BEFORE_ODD_BYTES = 15, 432
_DELAYS_BEFORE_IDS = 3
_IDS, _GROUP = 128, 368

Row = tuple[int, ...]


class NotUnderstood(Exception):  # noqa: N818 - the name says the fact
    """The kernel's structure is older than any that we know; the message has its version and length."""


class Layout(Struct, frozen=True):
    """Where things are in the structure of this kernel."""

    row: struct.Struct
    ids: struct.Struct
    ids_at: int
    group_at: int | None

    def read(self, data: bytes, at: int) -> Row:
        """The values of FIELDS."""
        return self.row.unpack_from(data, at)

    def who(self, data: bytes, at: int) -> tuple[int, int, int]:
        """The ids of the task, its parent and its process; the latter 0 where the kernel does not say."""
        task, parent = self.ids.unpack_from(data, at + self.ids_at)
        if self.group_at is None:
            return task, parent, 0
        return task, parent, int.from_bytes(data[at + self.group_at : at + self.group_at + 4], "little")


def layout(version: int, length: int) -> Layout:
    """The layout of a structure. Raises NotUnderstood."""
    if version < _LEAST_VERSION or length < _LEAST_BYTES:
        raise NotUnderstood(f"taskstats of version {version} with {length} bytes")
    more = (length - _BEFORE_ODD_BYTES) // 64 * 8 if version == _ODD_VERSION else 0
    gap = f"{more}x"
    delays = f"2Q{gap}2Q{gap}2Q{gap}2Q"
    shift = _DELAYS_BEFORE_IDS * more
    group = _GROUP + shift + 3 * more
    return Layout(
        struct.Struct(f"<16x{delays}56xI4x7Q16x14Q"),
        struct.Struct("<II"),
        _IDS + shift,
        group if length >= group + 4 else None,
    )
