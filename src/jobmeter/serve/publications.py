"""Publications: `POST /v2/publications` takes what reporters tell of their history, `GET` gives it, month by month.

What is published is told by site; who may read the records of some sites only sees the publications of these.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Struct

from jobmeter.contract import Clock, StoreUnavailable
from jobmeter.keeping import PublicationStore
from jobmeter.model.access import SITE_KEYS, Asker
from jobmeter.model.publication import Publication
from jobmeter.serve.answer import UNANSWERED, Problem, Receive, Scope, Send, send_away, send_json
from jobmeter.serve.asker import asker_of
from jobmeter.serve.body import BodyRefused, Disconnected, read_body
from jobmeter.serve.parameters import BadParameter, Parameters
from jobmeter.serve.reads import Readers
from jobmeter.serve.settings import Limits

GIVEN_MAX = 10_000
MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])", re.ASCII)
_TEXT_MAX = 4096


class PublicationList(Struct, frozen=True):
    """The publications that were asked for, the newest first."""

    publications: list[Publication]


class PublicationsTaken(Struct, frozen=True):
    """How many publications are stored, durably."""

    accepted: int


class PublicationsIn:
    """`POST /v2/publications`: an array, as JSON. Telling the same again changes nothing."""

    def __init__(self, kept: PublicationStore, readers: Readers, limits: Limits) -> None:
        self._kept = kept
        self._readers = readers
        self._limit_bytes = limits.body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Store all of them, or none."""
        try:
            given = msgspec.json.decode(await read_body(scope, receive, self._limit_bytes), type=list[Publication])
        except BodyRefused as refusal:
            return await send_json(send, refusal.status, Problem(str(refusal)))
        except (msgspec.DecodeError, UnicodeDecodeError) as fault:
            return await send_json(send, 400, Problem(f"this is no list of publications: {fault}"))
        except Disconnected:
            return UNANSWERED
        for place, one in enumerate(given):
            if (reason := _fault(one)) is not None:
                return await send_json(send, 400, Problem(f"publication {place}: {reason}"))
        try:
            await self._readers.ask(self._kept.put, given)
        except StoreUnavailable as fault:
            return await send_away(send, str(fault))
        return await send_json(send, 200, PublicationsTaken(len(given)))


class PublicationsOut:
    """`GET /v2/publications?from=2026-01&to=2026-03`; of all months by default."""

    def __init__(self, kept: PublicationStore, readers: Readers, clock: Clock) -> None:
        self._kept = kept
        self._readers = readers
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Answer with what the asker may see."""
        del receive
        try:
            first, last = _months(Parameters(scope["query_string"], self._clock.now()))
            found = await self._readers.ask(self._kept.between, first, last, GIVEN_MAX)
        except BadParameter as fault_:
            return await send_json(send, 400, Problem(str(fault_), fault_.name))
        except StoreUnavailable as fault:
            return await send_away(send, str(fault))
        asker = asker_of(scope)
        return await send_json(send, 200, PublicationList([one for one in found if sees(asker, one)]))


def sees(asker: Asker, one: Publication) -> bool:
    """Whether the asker may read all records of the sites that a publication is about."""
    return all(any(asker.scope.sees({key: (site,)}) for key in SITE_KEYS) for site in one.sites)


def _months(given: Parameters) -> tuple[str, str]:
    """The first and the last month that are asked for. Raises BadParameter."""
    first, last = given.text("from") or "0000-01", given.text("to") or "9999-12"
    given.require_known()
    for name, month in (("from", first), ("to", last)):
        if MONTH.fullmatch(month) is None:
            raise BadParameter(name, "is no month such as 2026-01")
    return first, last


def _fault(one: Publication) -> str | None:
    if MONTH.fullmatch(one.month) is None or not 0 <= one.day <= 31:
        return "month is none such as 2026-01, or day is none"
    texts = (
        one.reporter,
        one.receiver,
        one.site,
        one.what,
        one.digest,
        one.receipt,
        one.reason,
        *one.counts,
        *one.of_sites,
    )
    if any(len(text) > _TEXT_MAX or "\0" in text for text in texts):
        return "a text is too long, or holds a NUL"
    if any(moment is not None and moment.tzinfo is None for moment in (one.made, one.settled)):
        return "a time has no zone"
    if not 0 <= one.part < one.parts <= 10**6 or any(abs(count) >= 2**63 for count in one.counts.values()):
        return "part is not within parts, or a count is too large"
    return None
