"""The server against its own description: whatever `/openapi.json` allows is answered as `/openapi.json` says."""

from __future__ import annotations

import subprocess
import sys
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

from jobmeter.model.access import Role
from tests.clients.server import REPOSITORY, LiveServer, live

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


Operation = APIOperation[Any, Any, Any, Any]


def exercise(operation: Operation, mode: schemathesis.GenerationMode, examples: int, secret: str | None = None) -> None:
    """Sends what the operation's description allows, or what it forbids, and checks each answer."""
    shown = {} if secret is None else {"Authorization": f"Bearer {secret}"}

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    def all_answers_are_described(case: schemathesis.Case[Any]) -> None:
        case.headers.pop("Authorization", None)
        case.call_and_validate(checks=CHECKS, headers={"Accept": "application/json", **shown})

    all_answers_are_described()


def operations_of(described: BaseSchema) -> list[Operation]:
    found = [one.ok() for one in described.get_all_operations() if isinstance(one, Ok)]
    operations = [operation for operation in found if operation is not None]
    assert len(operations) == described.statistic.operations.total
    return operations


@pytest.mark.parametrize("mode", MODES, ids=lambda mode: str(mode.value))
def test_every_answer_is_described(described: BaseSchema, mode: schemathesis.GenerationMode) -> None:
    for operation in operations_of(described):
        if mode is schemathesis.GenerationMode.POSITIVE or takes_input(operation):
            exercise(operation, mode, 12)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with live(tmp_path_factory.mktemp("guarded"), ["--require-authentication"]) as server:
        yield server


WORDS = {
    "stranger": (),
    "everything": tuple(f"--role={role.value}" for role in Role),
    "some records": ("--role=read", "--role=write", "--role=correct", "--site=A", "--meta=vo=x"),
    "nothing of records": ("--role=monitor",),
}
"""The tokens of those who ask; a stranger shows none."""


def token(server: LiveServer, *words: str) -> str:
    """A new token of the server's."""
    command = [sys.executable, "-m", "jobmeter", "token", "create", "x", *words, "--data", str(server.data)]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY / "src").stdout.strip()


@pytest.mark.parametrize("who", sorted(WORDS))
def test_every_answer_is_described_whoever_asks(guarded: LiveServer, who: str) -> None:
    everything = token(guarded, *WORDS["everything"])
    described = schemathesis.openapi.from_url(
        f"{guarded.url}/openapi.json", headers={"Authorization": f"Bearer {everything}"}
    )
    secret = None if who == "stranger" else token(guarded, *WORDS[who])
    for operation in operations_of(described):
        for mode in MODES if who == "some records" else MODES[:1]:
            if mode is schemathesis.GenerationMode.POSITIVE or takes_input(operation):
                exercise(operation, mode, 3, secret)
