"""What the author of a page implements. A page is a module in `jobmeter.serve.pages` that binds `PAGE`, and a template.

The server calls `show` in a thread of its readers, so it asks stores plainly. What it returns are the values of the
template. It may raise NotThere, Moved, BadParameter and StoreUnavailable; each has a page of its own. Stores are asked
with the scope of `visit.asker`, always.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple

from msgspec import Struct

from jobmeter.contract import DocumentStore, RecordStore
from jobmeter.keeping import ArchiveView, ConflictStore, PublicationStore, SampleStore, SummaryStore
from jobmeter.model.access import Asker, Role
from jobmeter.serve.joined import OWN_RULES, JoinRule
from jobmeter.serve.meter import Meter
from jobmeter.serve.parameters import Parameters
from jobmeter.serve.web.kept import Kept

Values = Mapping[str, object]


class NotThere(Exception):  # noqa: N818 - the name says the fact
    """There is nothing of this name that the asker may see; the message says what was looked for."""


class Stores(NamedTuple):
    """What pages ask. None: this server keeps none of it."""

    records: RecordStore
    documents: DocumentStore | None
    samples: SampleStore | None
    summaries: SummaryStore | None
    meter: Meter
    publications: PublicationStore | None = None
    rules: tuple[JoinRule, ...] = OWN_RULES
    """Which record belongs to which job."""
    conflicts: ConflictStore | None = None
    archive: ArchiveView | None = None


class Visit(NamedTuple):
    """One request for a page."""

    asker: Asker
    stores: Stores
    now: datetime
    given: Parameters
    """The query string. A page that takes some calls `given.require_known()` after the last."""
    named: str
    """The last segment of the path where the page's path ends with one in braces, else empty. Hostile text."""
    kept: Kept
    """Answers of a few seconds' age that many may be shown. The key of each holds all it depends on, the scope too."""


def anyone(asker: Asker) -> bool:
    """For pages that everybody may see who may open the server."""
    del asker
    return True


def readers(asker: Asker) -> bool:
    """For pages of those who may read something."""
    return asker.may(Role.READ)


def administrators(asker: Asker) -> bool:
    """For pages about what belongs to nobody."""
    return asker.may(Role.ADMINISTER)


class Page(Struct, frozen=True):
    """A page as its module declares it.

    `path` may end with one segment in braces (`/nodes/{node}`), which is percent-decoded as a whole. `place` is the
    place in the navigation, None: it is not in it; then `under` may name the path of the page that stands there for it.
    `act` takes what a form of the page posts, its fields by name, and returns the path of ours to go on to, from `/`;
    it is called only for a form that this server's page has sent.
    """

    path: str
    title: str
    template: str
    show: Callable[[Visit], Values]
    sees: Callable[[Asker], bool] = readers
    place: int | None = None
    under: str | None = None
    act: Callable[[Visit, Mapping[str, str]], str] | None = None
