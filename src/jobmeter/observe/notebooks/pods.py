"""Users of notebooks that are pods: the value of a label, as the hub or portal sets it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from jobmeter.contract import SourceUnreadable
from jobmeter.observe.host import Host
from jobmeter.observe.kubernetes import wire
from jobmeter.observe.kubernetes.access import Access, find_access
from jobmeter.observe.kubernetes.api import Api, ApiAway, ApiDenied, VersionGone

_PAGE_PODS = 500
_ATTEMPTS = 3
_ENDED = frozenset({"Succeeded", "Failed"})


class _Phase(Struct, frozen=True):
    phase: str | None = None


class _Pod(Struct, frozen=True):
    metadata: wire.Metadata
    status: _Phase | None = None


_pod = msgspec.json.Decoder(_Pod).decode


def access(kubeconfig: str | None, context: str | None, host: Host) -> Access:
    """The way to the API server. Raises SourceUnreadable."""
    return find_access(kubeconfig, context, host)


def users(way: Access, namespace: str, label: str, *, ended_too: bool, timeout_seconds: float) -> list[str]:
    """The label's values on the pods of a namespace, each once, in the API's order.

    Pods that have ended or are being deleted do not count, but with `ended_too`. Raises SourceUnreadable.
    """
    for attempt in range(_ATTEMPTS):
        api = Api(way, timeout_seconds)
        try:
            return list(dict.fromkeys(_values(api, namespace, label, ended_too=ended_too)))
        except VersionGone as fault:
            # The list was older than the server keeps before its last page: it is begun anew.
            if attempt == _ATTEMPTS - 1:
                raise SourceUnreadable(f"namespace {namespace}: {fault}") from None
        except (ApiAway, ApiDenied) as fault:
            raise SourceUnreadable(f"namespace {namespace}: {fault}") from None
        finally:
            api.close()
    raise AssertionError("the last attempt returns or raises")


def _values(api: Api, namespace: str, label: str, *, ended_too: bool) -> Iterator[str]:
    for page in api.pages(namespace, label, _PAGE_PODS):
        for raw in page.items or ():
            try:
                pod = _pod(raw)
            except (msgspec.MsgspecError, UnicodeDecodeError) as fault:
                raise ApiAway(f"a pod cannot be read: {fault}") from None
            user = (pod.metadata.labels or {}).get(label.partition("=")[0].strip("! "))
            if user and (ended_too or _is_live(pod)):
                yield user


def _is_live(pod: _Pod) -> bool:
    phase = None if pod.status is None else pod.status.phase
    return phase not in _ENDED and pod.metadata.deletion_timestamp is None
