"""News of folders made and removed, from the kernel's inotify(7), called through the C library."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

_CREATE, _DELETE, _DELETE_SELF, _MOVED, _MODIFY = 0x100, 0x200, 0x400, 0x40 | 0x80, 0x2
_ONLY_FOLDERS = 0x01000000
_HEAD = struct.Struct("iIII")
_IGNORED, _OVERFLOW = 0x8000, 0x4000


class Watcher:
    """Watches folders. `descriptor` becomes readable when there is news. Raises OSError where there is no inotify."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None, use_errno=True)
        self.descriptor: int = self._library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self.is_whole = True
        """False once the kernel refused to watch a place that is there: not all is told. Who tries again sets it."""
        self._watched: dict[str, tuple[int, int]] = {}
        self._modified: set[int] = set()

    def watch(self, folder: str, inode: int) -> None:
        """Hear of what is made and removed in a folder. A folder that is watched already costs nothing."""
        if (before := self._watched.get(folder)) is not None and before[1] == inode:
            return
        number = self._add(folder, _CREATE | _DELETE | _DELETE_SELF | _MOVED | _ONLY_FOLDERS)
        if number is not None:
            self._watched[folder] = (number, inode)

    def watch_file(self, file: str) -> int | None:
        """Hear when a file says something new; the number that `news` will give for it, None where it is gone."""
        number = self._add(file, _MODIFY)
        if number is not None:
            self._modified.add(number)
        return number

    def news(self) -> tuple[bool, set[int]]:
        """Whether folders have come or gone since the last call, and the numbers of files that changed.

        More than the kernel keeps for us may have happened: then anything may have.
        """
        folders = False
        files: set[int] = set()
        while True:
            try:
                data = os.read(self.descriptor, 1 << 16)
            except BlockingIOError:
                return folders, files
            offset = 0
            while offset + _HEAD.size <= len(data):
                number, mask, _, length = _HEAD.unpack_from(data, offset)
                offset += _HEAD.size + length
                if mask & _IGNORED:
                    self._modified.discard(number)
                    self._forget(number)
                elif mask & _OVERFLOW:
                    folders = True
                    files |= self._modified
                elif number in self._modified:
                    files.add(number)
                else:
                    folders = True

    def close(self) -> None:
        """Stop watching."""
        os.close(self.descriptor)

    def _add(self, path: str, mask: int) -> int | None:
        number = self._library.inotify_add_watch(self.descriptor, os.fsencode(path), ctypes.c_uint32(mask))
        if number >= 0:
            return int(number)
        self.is_whole &= ctypes.get_errno() in (errno.ENOENT, errno.ENOTDIR)
        return None

    def _forget(self, number: int) -> None:
        for folder in [name for name, (each, _) in self._watched.items() if each == number]:
            del self._watched[folder]
