"""Templates into HTML. Everything that is put in is escaped; a value that is missing is a fault, not an empty place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from jinja2 import Environment, PackageLoader, StrictUndefined
from msgspec import Struct

from jobmeter import __version__
from jobmeter.model.access import ANYONE, Asker
from jobmeter.serve.view import curves, rows
from jobmeter.serve.web import figures, writing
from jobmeter.serve.web.assets import Assets
from jobmeter.serve.web.page import Page, Values


class Where(Struct, frozen=True):
    """For whom and where a page is shown: the navigation and all links depend on it."""

    asker: Asker | None
    raw_path: bytes
    page: Page | None = None

    @property
    def root(self) -> str:
        """The way from this page to `/`, so that links hold behind a proxy that puts all of it under a path."""
        return "../" * max(0, self.raw_path.count(b"/") - 1) or "./"


class Paper:
    """What all pages are printed on. One per application; thread-safe."""

    def __init__(self, pages: Iterable[Page], assets: Assets) -> None:
        pages = list(pages)
        self._listed = sorted((page for page in pages if page.place is not None), key=lambda page: page.place or 0)
        self._assets = assets
        self._environment = Environment(
            loader=PackageLoader("jobmeter.serve.pages"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= _FILTERS
        self._environment.globals["absent"] = figures.ABSENT
        for name in self._environment.list_templates():  # compiled now, so that the first visitor need not wait for it
            self._environment.get_template(name)

    def printed(self, template: str, where: Where, values: Values) -> bytes:
        """The page as HTML."""
        root = where.root
        frame: Mapping[str, object] = {
            "root": root,
            "asset": lambda name: root + self._assets.path(name),
            "version": __version__,
            "asker": _named(where.asker),
            "listed": [page for page in self._listed if where.asker is not None and page.sees(where.asker)],
            "current": None if where.page is None else where.page.under or where.page.path,
        }
        title = "" if where.page is None else where.page.title
        return self._environment.get_template(template).render({"title": title, **values, **frame}).encode()


def _named(asker: Asker | None) -> str | None:
    return None if asker is None or asker.name == ANYONE else asker.name


_FILTERS = {
    "number": figures.number,
    "bytes": figures.amount_bytes,
    "watts": figures.watts,
    "percent": figures.percent,
    "span": figures.span,
    "ago": figures.ago,
    "moment": figures.moment,
    "iso": figures.iso,
    "instant": figures.instant,
    "before": figures.before,
    "day": writing.day,
    "segment": writing.segment,
    "query": writing.query,
    "sorted": writing.sorted_by,
    "merged": writing.merged,
    "month_fields": writing.month_fields,
    "hours": rows.hours,
    "energy": rows.energy,
    "thinned": curves.thinned,
}
