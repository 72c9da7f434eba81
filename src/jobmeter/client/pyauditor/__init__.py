"""The surface of `python-auditor`: a program written for it runs with `import jobmeter.client.pyauditor as pyauditor`.

Names, arguments, time zones and exceptions are those of python-auditor 0.11.2; `MetaOperator` takes single strings as
well, as before 0.10. What is better here, and so differs:

- a write that the server refuses raises RuntimeError, in place of being taken for a success;
- a list that breaks off raises, in place of being cut; a record of any size can be read;
- an id of any characters can be asked for;
- the queue goes in order and forgets nothing; what was refused is kept with the reason, and an update of an unknown
  record blocks no other. It needs a jobmeter server; everything else works with an AUDITOR server, too.
"""

from __future__ import annotations

from jobmeter.client.pyauditor.builder import AuditorClientBuilder
from jobmeter.client.pyauditor.clients import AuditorClient, AuditorClientBlocking, QueuedAuditorClient
from jobmeter.client.pyauditor.queries import (
    ComponentQuery,
    MetaOperator,
    MetaQuery,
    Operator,
    QueryBuilder,
    SortBy,
    Value,
)
from jobmeter.client.pyauditor.values import Component, Meta, Record, Score

__all__ = [
    "AuditorClient",
    "AuditorClientBlocking",
    "AuditorClientBuilder",
    "Component",
    "ComponentQuery",
    "Meta",
    "MetaOperator",
    "MetaQuery",
    "Operator",
    "QueryBuilder",
    "QueuedAuditorClient",
    "Record",
    "Score",
    "SortBy",
    "Value",
]
