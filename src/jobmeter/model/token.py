"""A bearer token: who may show it, for what, until when. Its secret is known to nobody but its owner."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from jobmeter.model.access import Asker, Grant


class Token(Struct, frozen=True):
    """`name` says who owns it, `note` what it is for; the keeper gives `number`. Times are aware."""

    name: str
    grants: tuple[Grant, ...]
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None
    note: str = ""
    number: int | None = None

    def good_at(self, moment: datetime) -> bool:
        """Whether it opens anything at this moment."""
        return self.revoked is None and (self.expires is None or moment < self.expires)

    @property
    def asker(self) -> Asker:
        """Who asks when it is shown."""
        return Asker(f"token {self.number} ({self.name})", self.grants)
