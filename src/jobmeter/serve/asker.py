"""Who asks, as the door has found out, on its way to the endpoint."""

from __future__ import annotations

from jobmeter.model.access import Asker
from jobmeter.serve.answer import Scope

KEY = "jobmeter.asker"


def asker_of(scope: Scope) -> Asker:
    """Who asks. An endpoint that needs nothing has no asker: for it this raises KeyError."""
    asker: Asker = scope[KEY]
    return asker
