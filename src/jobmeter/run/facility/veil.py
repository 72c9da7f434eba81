"""Keeps the names of hosts and users out of the log when documents carry pseudonyms."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_SHORT = 2


class Veil(logging.Filter):
    """What is renamed in documents is renamed in lines of the log, too.

    `user` and `host` are the given functions, which note what they rename; None where nothing is. Hosts of the domain
    of `own_name` are renamed in the log even if no document tells of them, such as a schedd that does not answer.
    """

    def __init__(self, own_name: str, *, user: Callable[[str], str] | None, host: Callable[[str], str] | None) -> None:
        super().__init__()
        self._names: dict[str, str] = {}
        self.user = None if user is None else self._noted(user)
        self.host = None if host is None else self._noted(host)
        self._domain: re.Pattern[str] | None = None
        if self.host is not None:
            self.host(own_name)
            short, _, domain = own_name.partition(".")
            self._names.setdefault(short, self._names[own_name])
            if domain:
                self._domain = re.compile(rf"[\w.-]+\.{re.escape(domain)}")

    def filter(self, record: logging.LogRecord) -> bool:
        """Rename within the message. The trace of a fault is left out, as it may hold anything."""
        if self.user is None and self.host is None:
            return True
        record.msg, record.args = self.veiled(record.getMessage()), ()
        if record.exc_info:
            kind = record.exc_info[0]
            record.msg += f" fault={'unknown' if kind is None else kind.__name__}"
            record.exc_info = record.exc_text = None
        return True

    def veiled(self, text: str) -> str:
        """The text with every known name renamed."""
        if self.host is not None and self._domain is not None:
            host = self.host
            text = self._domain.sub(lambda match: host(match[0]), text)
        names = sorted((name for name in self._names if len(name) >= _SHORT), key=len, reverse=True)
        if not names:
            return text
        pattern = re.compile(rf"(?<![\w.-])({'|'.join(map(re.escape, names))})(?![\w-])")
        return pattern.sub(lambda match: self._names[match[0]], text)

    @contextmanager
    def over_logs(self) -> Iterator[None]:
        """Lines of the log are renamed within."""
        handlers = logging.getLogger().handlers[:]
        for handler in handlers:
            handler.addFilter(self)
        try:
            yield
        finally:
            for handler in handlers:
                handler.removeFilter(self)

    def _noted(self, rename: Callable[[str], str]) -> Callable[[str], str]:
        def noted(name: str) -> str:
            found = self._names[name] = rename(name)
            return found

        return noted
