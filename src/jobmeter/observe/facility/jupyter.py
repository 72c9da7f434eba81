"""Who has a notebook open: two documents, one of the facility's notebooks and one of coffea-casa's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from jobmeter.contract import DocumentBatch, Section, SourceUnreadable
from jobmeter.model.document import Document
from jobmeter.observe.host import Host
from jobmeter.observe.notebooks import hub, pods
from jobmeter.observe.people.shape import user_count
from jobmeter.observe.queues.condor import Condor, Options
from jobmeter.observe.queues.job import RUNNING, QueueWanted
from jobmeter.settings.fault import WrongValue


class Hub(Struct, frozen=True, forbid_unknown_fields=True):
    """A JupyterHub."""

    address: Annotated[str, Meta(description="The API's address, https://HOST/hub/api.")]
    token_file: Annotated[str, Meta(description="File with the token, scopes list:users and read:servers.")]


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where notebooks run."""

    source: Annotated[
        Literal["kubernetes", "jupyterhub", "htcondor"], Meta(description="What tells of the notebooks.")
    ] = "kubernetes"
    namespace: Annotated[str, Meta(description="Kubernetes: the namespace of jupyter-ml (-n).")] = "af-jupyter"
    label: Annotated[str, Meta(description="Kubernetes: the label that holds the user (-l).")] = "owner"
    coffea: Annotated[bool, Meta(description="Whether there is a document jupyter-coffea.")] = True
    coffea_namespace: Annotated[str, Meta(description="Its namespace.")] = "coffea-casa"
    coffea_label: Annotated[str, Meta(description="Its label.")] = "jhub_user"
    kubeconfig: Annotated[
        str | None, Meta(description="File; default: $KUBECONFIG, ~/.kube/config, or the pod's service account.")
    ] = None
    context: Annotated[str | None, Meta(description="Context within it; default: the current one.")] = None
    ended_too: Annotated[bool, Meta(description="Whether pods count that have ended or are being deleted.")] = False
    hub: Annotated[Hub | None, Meta(description="The JupyterHub of jupyter-ml.")] = None
    constraint: Annotated[str, Meta(description="HTCondor: the ClassAd expression of jobs that are notebooks.")] = (
        "JupyterJob =?= true"
    )
    timeout_seconds: Annotated[float, Meta(gt=0, le=3600, description="How long an answer may take.")] = 20

    def __post_init__(self) -> None:
        if self.source == "jupyterhub" and self.hub is None:
            raise WrongValue("hub", "is missing, and source is jupyterhub")


class JupyterSection:
    """A Section; see `jobmeter.contract`."""

    def __init__(self, settings: Settings, host: Host) -> None:
        self._settings = settings
        self._host = host

    def read(self, cursor: str | None) -> Iterator[DocumentBatch]:
        """jupyter-ml, then jupyter-coffea; one that cannot be told keeps the other from nothing."""
        del cursor
        settings = self._settings
        yield self._document("jupyter-ml", self._users)
        if settings.coffea and settings.source == "kubernetes":
            yield self._document(
                "jupyter-coffea", lambda: self._by_pods(settings.coffea_namespace, settings.coffea_label)
            )

    def _document(self, kind: str, users: Callable[[], list[str]]) -> DocumentBatch:
        try:
            _, body = user_count(kind, "jupyter", users(), {})
        except SourceUnreadable as fault:
            return DocumentBatch((), unreadable=(f"{kind}: {fault}",))
        return DocumentBatch((Document(kind, "", self._host.clock.now(), body),))

    def _users(self) -> list[str]:
        settings = self._settings
        if settings.source == "htcondor":
            return self._by_jobs()
        if settings.hub is not None and settings.source == "jupyterhub":
            file = self._host.path(settings.hub.token_file)
            return hub.users(settings.hub.address, lambda: _token(file), settings.timeout_seconds)
        return self._by_pods(settings.namespace, settings.label)

    def _by_pods(self, namespace: str, label: str) -> list[str]:
        settings = self._settings
        way = pods.access(settings.kubeconfig, settings.context, self._host)
        return pods.users(way, namespace, label, ended_too=settings.ended_too, timeout_seconds=settings.timeout_seconds)

    def _by_jobs(self) -> list[str]:
        options = Options((), None, self._settings.timeout_seconds, False, 1, True)
        condor = Condor(options, [QueueWanted("notebooks", self._settings.constraint)], self._host)
        running = (job for job in condor.queued().jobs if job.state == RUNNING and "notebooks" in job.queues)
        return list(dict.fromkeys(job.user for job in running))


def _token(file: Path) -> str:
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as fault:
        raise SourceUnreadable(f"{file} cannot be read: {fault}") from None
    if not token or not token.isascii() or not token.isprintable():
        raise SourceUnreadable(f"{file} holds no token")
    return token


def open_section(settings: Settings, host: Host) -> Section:
    """The notebooks of the facility."""
    return JupyterSection(settings, host)
