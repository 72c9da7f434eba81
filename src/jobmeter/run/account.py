"""The account as reports see it: questions to a server, answered whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from jobmeter.model.publication import Publication
from jobmeter.model.question import Question
from jobmeter.model.record import Record
from jobmeter.model.summary import JobSummary
from jobmeter.model.total import Total, TotalQuestion
from jobmeter.peer import Answer, Endpoint, Peer, PeerAway, bearer
from jobmeter.query.build import query_string, total_query_string
from jobmeter.wire.auditor import BadRecord, decode_record
from jobmeter.wire.totals import BadTotals, decode_totals

_PAGE = 5000


class AccountAway(Exception):  # noqa: N818 - the name says the fact
    """The server did not answer, or not in full; the message says what happened. Nothing may be concluded from it."""


class _Page(Struct):
    records: list[msgspec.Raw]
    next: str | None = None


class _Summaries(Struct):
    summaries: list[JobSummary]


class Account:
    """The records of the server at `endpoint`; `token_file` has what it asks for, read anew for each request.

    `headers` may be given in place of it.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        token_file: str | None = None,
        *,
        headers: Callable[[], Mapping[str, str]] | None = None,
    ) -> None:
        self._peer = Peer(endpoint, headers=headers or bearer(None, token_file))

    def totals(self, question: TotalQuestion) -> list[Total]:
        """The groups that answer `question`. Raises AccountAway."""
        answer = self._asked(f"/v2/totals?{total_query_string(question)}")
        try:
            return decode_totals(question, answer.body)
        except BadTotals as fault:
            raise AccountAway(f"{self._peer.address}: {fault}") from None

    def records(self, question: Question) -> Iterator[Record]:
        """The records that answer `question`, page by page. Raises AccountAway, also after some records."""
        cursor: str | None = ""
        asked = f"/v2/records?limit={_PAGE}&{query_string(question)}"
        while cursor is not None:
            answer = self._asked(f"{asked}&cursor={cursor}" if cursor else asked)
            try:
                page = msgspec.json.decode(answer.body, type=_Page)
                for raw in page.records:
                    yield decode_record(bytes(raw))
            except (msgspec.MsgspecError, UnicodeDecodeError, BadRecord) as fault:
                raise AccountAway(f"{self._peer.address}: a page of records is not understood: {fault}") from None
            cursor = page.next

    def summary(self, record_id: str) -> JobSummary | None:
        """What the samples of a record's job said, None where this server has or knows no summary of it."""
        found = self._summaries(f"record_id={quote(record_id, safe='')}")
        return found[-1] if found else None

    def summaries(self, manager: str, cluster: str | None, job: str) -> list[JobSummary]:
        """The summaries of all runs of a job that the server knows."""
        asked = {"manager": manager, **({} if cluster is None else {"cluster": cluster}), "job": job}
        return self._summaries(urlencode(asked))

    def _summaries(self, query: str) -> list[JobSummary]:
        try:
            answer = self._peer.exchange("GET", f"/v2/summaries?{query}")
        except (PeerAway, OSError) as fault:
            raise AccountAway(str(fault)) from fault
        if answer.status in (403, 404, 405):
            return []
        if answer.status != 200:
            raise AccountAway(f"{self._peer.address}: status {answer.status} for summaries")
        try:
            return msgspec.json.decode(answer.body, type=_Summaries).summaries
        except (msgspec.MsgspecError, UnicodeDecodeError) as fault:
            raise AccountAway(f"{self._peer.address}: summaries are not understood: {fault}") from None

    def publish(self, told: Sequence[Publication]) -> str | None:
        """Tell what was published; why the server took nothing of it, or None. Raises AccountAway."""
        try:
            answer = self._peer.exchange("POST", "/v2/publications", msgspec.json.encode(told))
        except (PeerAway, OSError) as fault:
            raise AccountAway(str(fault)) from fault
        if answer.status == 200:
            return None
        said = answer.body[:500].decode("utf-8", "replace").strip()
        return f"{self._peer.address}: status {answer.status}: {said or 'no details'}"

    def close(self) -> None:
        """Close the connection."""
        self._peer.close()

    def _asked(self, path: str) -> Answer:
        try:
            answer = self._peer.exchange("GET", path)
        except (PeerAway, OSError) as fault:
            raise AccountAway(str(fault)) from fault
        if answer.status != 200:
            said = answer.body[:500].decode("utf-8", "replace").strip()
            raise AccountAway(f"{self._peer.address}: status {answer.status}: {said or 'no details'}")
        return answer
