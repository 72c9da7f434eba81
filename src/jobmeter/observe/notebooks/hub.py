"""Users with a running server by JupyterHub's REST API (`GET /hub/api/users?state=active`, JupyterHub 2 and newer)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from jobmeter.contract import SourceUnreadable
from jobmeter.peer import Endpoint, Peer, PeerAway

_PAGE_USERS = 200
_PAGES_MAX = 1000
_ACCEPT = "application/jupyterhub-pagination+json"


class _User(Struct, frozen=True):
    name: str


class _Next(Struct, frozen=True):
    offset: int


class _Pagination(Struct, frozen=True):
    next: _Next | None = None


class _Page(Struct, frozen=True):
    items: list[_User]
    pagination: _Pagination = msgspec.field(name="_pagination", default=_Pagination())


_page = msgspec.json.Decoder(_Page).decode


def users(address: str, token: Callable[[], str], timeout_seconds: float) -> list[str]:
    """Names of users whose server runs or starts, in the hub's order. Raises SourceUnreadable."""

    def headers() -> Mapping[str, str]:
        return {"Accept": _ACCEPT, "Authorization": f"token {token()}"}

    peer = Peer(Endpoint(address.rstrip("/"), timeout_seconds), headers=headers)
    found: list[str] = []
    offset = 0
    try:
        for _ in range(_PAGES_MAX):
            page = _asked(peer, f"/users?state=active&offset={offset}&limit={_PAGE_USERS}")
            found += (user.name for user in page.items)
            if page.pagination.next is None:
                return list(dict.fromkeys(found))
            offset = page.pagination.next.offset
    except PeerAway as fault:
        raise SourceUnreadable(f"JupyterHub: {fault}") from None
    finally:
        peer.close()
    raise SourceUnreadable(f"JupyterHub: the list of users does not end after {_PAGES_MAX} pages")


def _asked(peer: Peer, path: str) -> _Page:
    answer = peer.exchange("GET", path)
    if answer.status != 200:
        raise SourceUnreadable(
            f"JupyterHub answers with status {answer.status}; the token needs the scope list:users and read:servers"
        )
    try:
        return _page(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as fault:
        raise SourceUnreadable(f"JupyterHub's answer is no page of users: {fault}") from None
