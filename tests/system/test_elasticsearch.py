"""A real Elasticsearch from before mapping types were given up."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from jobmeter.model.outcome import Rejected
from jobmeter.sinks.samples.elasticsearch import Settings, open_sink
from tests.sinks.samples.given import START, all_accepted, colmet_batch, own_batch
from tests.system.elasticsearch_server import elasticsearch, obstacle

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if (lacking := obstacle()) is not None:
        pytest.skip(lacking)
    with elasticsearch(tmp_path_factory.mktemp("elasticsearch")) as found:
        yield found


def asked(address: str, path: str) -> Any:
    with urllib.request.urlopen(f"{address}/{path}", timeout=30) as reply:
        return json.load(reply)


def test_each_document_arrives_once_however_often_it_is_sent(address: str) -> None:
    sink = open_sink(Settings(address=address, index_prefix="colmet_", mapping_type="sample"))
    for _ in range(2):
        for at in range(20):
            assert all_accepted(sink.write(colmet_batch(START + at)))
            assert all_accepted(sink.write(own_batch(START + at, value=at)))
        sink.flush()
    sink.close()
    urllib.request.urlopen(urllib.request.Request(f"{address}/_refresh", method="POST"), timeout=30).close()
    found = asked(address, "colmet_*/_search?size=0")
    assert found["hits"]["total"] == 20 * (len(colmet_batch().samples) + len(own_batch().samples))
    one = asked(address, "colmet_*/_search?size=1")["hits"]
    assert one["hits"][0]["_type"] == "sample"
    assert one["hits"][0]["_source"]["hostname"] == "n1"


def test_without_a_mapping_type_the_server_refuses_and_its_reason_is_told(address: str) -> None:
    sink = open_sink(Settings(address=address, index_prefix="plain_"))
    outcomes = sink.write(own_batch())
    sink.close()
    assert not any(isinstance(outcome, Rejected) for outcome in outcomes)
    assert any("type" in getattr(outcome, "reason", "") for outcome in outcomes), outcomes
