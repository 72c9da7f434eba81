"""Who is logged in on this host.

From `who`, which reads utmp; from utmp itself where there is no `who`; from logind on systems without utmp. Which of
them told is logged. A host where none can tell is unreadable: it is not taken for empty.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta, Struct

from jobmeter.contract import DocumentBatch, Section, SourceUnreadable
from jobmeter.model.document import Document
from jobmeter.observe.host import Host
from jobmeter.observe.people.shape import user_count
from jobmeter.observe.sessions import accounting, commands

log = logging.getLogger("jobmeter.observe")

_HISTORY_MINUTES = 5


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where sessions are read, and whether those that ended a short while ago count."""

    source: Annotated[
        Literal["auto", "who", "utmp", "logind"],
        Meta(description="What tells who is logged in; auto takes the first of who, utmp and logind that can."),
    ] = "auto"
    history: Annotated[
        bool, Meta(description="Whether users count who logged in or out within the last minutes (-S).")
    ] = False
    history_minutes: Annotated[int, Meta(ge=1, description="How many minutes that is.")] = _HISTORY_MINUTES
    timeout_seconds: Annotated[float, Meta(gt=0, description="How long a command may take.")] = 20
    as_it_was: Annotated[
        bool,
        Meta(description="As the superseded program: last appended to who, reboots included, none known is nobody."),
    ] = False


class SshSection:
    """A Section; see `jobmeter.contract`."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._settings = settings
        self._host = host

    def read(self, cursor: str | None) -> Iterator[DocumentBatch]:
        """One document."""
        del cursor
        users, unreadable = self._as_it_was() if self._settings.as_it_was else self._users()
        kind, body = user_count("ssh", "ssh", users, {"login_node": self._host.name})
        yield DocumentBatch((Document(kind, "", self._host.clock.now(), body),), unreadable=unreadable)

    def _users(self) -> tuple[list[str], tuple[str, ...]]:
        told, users = self._now()
        log.info("ssh.sessions told_by=%s users=%d", told, len(users))
        if not self._settings.history:
            return users, ()
        try:
            return list(dict.fromkeys([*users, *self._before()])), ()
        except SourceUnreadable as fault:
            return users, (f"the history of logins: {fault}",)

    def _now(self) -> tuple[str, list[str]]:
        wait = self._settings.timeout_seconds
        match self._settings.source:
            case "who":
                return "who", commands.who(self._host, wait)
            case "logind":
                return "logind", commands.logind(self._host, wait)
            case "utmp":
                return "utmp", self._utmp()
        if accounting.utmp_file(self._host) is not None:
            try:
                return "who", commands.who(self._host, wait)
            except commands.NoCommand:
                return "utmp", self._utmp()
        return self._without_utmp()

    def _without_utmp(self) -> tuple[str, list[str]]:
        """Without utmp, newer versions of `who` ask logind; older ones print nothing, which says nothing."""
        wait = self._settings.timeout_seconds
        try:
            return "logind", commands.logind(self._host, wait)
        except SourceUnreadable as fault:
            try:
                users = commands.who(self._host, wait)
            except SourceUnreadable as other:
                raise SourceUnreadable(f"{fault}; {other}") from None
            if users:
                return "who", users
            raise SourceUnreadable(f"there is no utmp, who prints nothing, and {fault}") from None

    def _utmp(self) -> list[str]:
        file = accounting.utmp_file(self._host)
        if file is None:
            raise SourceUnreadable("there is no utmp on this host; set source")
        return accounting.logged_in(self._host, file)

    def _before(self) -> list[str]:
        minutes = self._settings.history_minutes
        found = accounting.active_since(self._host, accounting.window_start(self._host, minutes * 60))
        return commands.last(self._host, minutes, self._settings.timeout_seconds) if found is None else found

    def _as_it_was(self) -> tuple[list[str], tuple[str, ...]]:
        unreadable = []
        users: list[str] = []
        wait = self._settings.timeout_seconds
        try:
            users = commands.who(self._host, wait)
            if self._settings.history:
                users = users + commands.last_as_it_was(self._host, self._settings.history_minutes, wait)
        except SourceUnreadable as fault:
            unreadable.append(str(fault))
        return users, tuple(unreadable)


def open_section(settings: Settings, host: Host) -> Section:
    """The sessions of this host."""
    return SshSection(settings, host)
