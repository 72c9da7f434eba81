"""The description names every path that is served, so that what is tried from it is all."""

from __future__ import annotations

from jobmeter.serve.keyring import Keyring
from jobmeter.serve.operations import OPERATIONS
from jobmeter.serve.settings import ServeSettings
from jobmeter.serve.table import Beside, facility_table, parts_of, table
from jobmeter.store.conflicts import Conflicts
from jobmeter.store.documents import Documents
from jobmeter.store.open import open_store
from jobmeter.store.publications import Publications
from jobmeter.store.summaries import Summaries
from tests.serve.live import FixedClock

NOT_DESCRIBED = {("/health_check", "HEAD")}


def test_every_path_that_is_served_is_described_and_no_other(sqlite_url: str) -> None:
    store, documents = open_store(sqlite_url), Documents(sqlite_url)
    beside = Beside(None, Summaries(sqlite_url), Publications(sqlite_url), Conflicts(sqlite_url))
    parts = parts_of(store, ServeSettings(), FixedClock(), documents, beside)
    served = table(parts) | facility_table(parts, documents, Keyring(None, parts.readers, FixedClock()))
    parts.readers.close()
    for one in (store, documents, beside.summaries, beside.publications, beside.conflicts):
        one.close()  # type: ignore[union-attr]
    found = {(path, method) for path, methods in served.items() for method in methods}
    assert found - NOT_DESCRIBED == {(one.path, one.method) for one in OPERATIONS}
