"""Which page stands at which path, as entries of the table of endpoints."""

from __future__ import annotations

from jobmeter.serve.door import Need
from jobmeter.serve.table import Entry, Parts, Table
from jobmeter.serve.web.page import Stores
from jobmeter.serve.web.site import Site


def site_of(parts: Parts) -> Site:
    """The pages over the server's stores."""
    stores = Stores(
        parts.store,
        parts.documents,
        parts.samples,
        parts.summaries,
        parts.meter,
        parts.publications,
        parts.settings.join.rules,
        parts.conflicts,
        parts.archive,
    )
    return Site(stores, parts.readers, parts.clock)


def page_table(site: Site) -> Table:
    """The pages and what they are made with. Who may see a page, its endpoint decides."""
    table: Table = {}
    for page in site.pages:
        shown = Entry(Need.A_NAME, site.shown(page), refused=site.refused)
        table[page.path] = {"GET": shown, "HEAD": shown}
        if page.act is not None:
            table[page.path]["POST"] = Entry(Need.A_NAME, site.acted(page), refused=site.refused, form=True)
    for asset in site.assets.all():
        table[asset.path] = {"GET": Entry(Need.NOTHING, asset), "HEAD": Entry(Need.NOTHING, asset)}
    return table
