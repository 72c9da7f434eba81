"""The server against its own description: whatever `/openapi.json` allows is answered as `/openapi.json` says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.clients.server import LiveServer, live

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
MODES = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]


@pytest.fixture(scope="module")
def live_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module")
def described(live_server: LiveServer) -> BaseSchema:
    return schemathesis.openapi.from_url(f"{live_server.url}/openapi.json")


def takes_input(operation: APIOperation[Any, Any, Any, Any]) -> bool:
    """Whether there is anything that a caller could get wrong."""
    return any(operation.definition.raw.get(part) for part in ("parameters", "requestBody"))


def exercise(operation: APIOperation[Any, Any, Any, Any], mode: schemathesis.GenerationMode) -> None:
    """Sends what the operation's description allows, or what it forbids, and checks each answer."""

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=12, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def all_answers_are_described(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(checks=CHECKS, headers={"Accept": "application/json"})

    all_answers_are_described()


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: str(mode.value))
def test_every_answer_is_described(described: BaseSchema, mode: schemathesis.GenerationMode) -> None:
    found = [one.ok() for one in described.get_all_operations() if isinstance(one, Ok)]
    operations = [operation for operation in found if operation is not None]
    assert len(operations) == described.statistic.operations.total
    for operation in operations:
        if mode is schemathesis.GenerationMode.POSITIVE or takes_input(operation):
            exercise(operation, mode)
