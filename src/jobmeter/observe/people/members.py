"""Members of a Unix group, one question per user: directories such as LDAP or SSSD rarely let all groups be listed."""

from __future__ import annotations

import grp
import os
import pwd

from jobmeter.contract import SourceUnreadable


class Members:
    """The members of a group by the name service: those listed by it, and those whose account has it.

    Raises SourceUnreadable when the name service knows no such group (now).
    """

    def __init__(self, group: str) -> None:
        try:
            entry = grp.getgrnam(group)
        except KeyError:
            raise SourceUnreadable(f"there is no group {group!r}, or the name service does not answer") from None
        self._gid = entry.gr_gid
        self._listed = frozenset(entry.gr_mem)
        self._known: dict[str, bool] = {}

    def __contains__(self, user: object) -> bool:
        if not isinstance(user, str):
            return False
        if user not in self._known:
            self._known[user] = user in self._listed or self._by_account(user)
        return self._known[user]

    def _by_account(self, user: str) -> bool:
        """An account that is unknown here, of the hub or of another domain, is simply no member."""
        try:
            account = pwd.getpwnam(user)
        except (KeyError, ValueError):  # ValueError: a NUL, or text that is no Unicode
            return False
        return account.pw_gid == self._gid or self._gid in os.getgrouplist(account.pw_name, account.pw_gid)
