"""Pods as they are read, when they ended, and what record they make."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.contract import Refused
from jobmeter.model.record import Record
from jobmeter.observe.kubernetes.cursor import Held, Scope, State, state_of
from jobmeter.observe.kubernetes.ending import Ending, by_conditions, settled
from jobmeter.observe.kubernetes.marks import Marks
from jobmeter.observe.kubernetes.pod import Pod, parse
from jobmeter.observe.kubernetes.record import Shaper
from jobmeter.observe.kubernetes.settings import MetaRule, Settings
from jobmeter.observe.shape.values import Unreadable
from tests.observe.kubernetes_pods import NOW, ago, pod, running, terminated

END = Ending(NOW, "containers")


def read(value: dict[str, Any], *names: str) -> Pod:
    return parse(json.dumps(value).encode(), names, names)


def shape(value: dict[str, Any], *names: str, ending: Ending = END, **options: Any) -> Record:
    record = Shaper(Settings(**options)).shape(read(value, *names), ending, {})
    assert isinstance(record, Record), record
    return record


def amounts(record: Record) -> dict[str, int]:
    return {component.name: component.amount for component in record.components}


def container(name: str, **resources: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "resources": resources}


def test_the_last_container_to_finish_ends_the_pod() -> None:
    value = pod("a", states=[terminated(ago(500), ago(90)), terminated(ago(500), ago(80))])
    assert read(value).containers_ended() == NOW - timedelta(seconds=80)


@pytest.mark.parametrize(
    "states",
    [
        [terminated(ago(500), ago(90)), running(ago(500))],
        [terminated(ago(500), None)],
        [terminated(ago(500), "1970-01-01T00:00:00Z")],
        [terminated(ago(500), ago(90)), {}],
    ],
)
def test_no_end_is_known_while_one_container_has_none(states: list[dict[str, Any]]) -> None:
    assert read(pod("a", "Failed", states=states)).containers_ended() is None


def test_containers_that_never_began_do_not_hold_up_the_end() -> None:
    waits = {"waiting": {"reason": "ContainerCreating"}}
    value = pod("a", "Failed", states=[terminated(ago(500), ago(90)), waits])
    assert read(value).containers_ended() == NOW - timedelta(seconds=90)


def test_a_pod_whose_init_container_failed_ends_with_it() -> None:
    init = {"name": "i", "state": terminated(ago(50), ago(40), "Error")}
    value = pod(
        "a", "Failed", states=[{"waiting": {"reason": "PodInitializing"}}],
        status={"initContainerStatuses": [init]}, spec={"initContainers": [container("i")]},
    )  # fmt: skip
    assert read(value).containers_ended() == NOW - timedelta(seconds=40)
    assert shape(value).meta is not None


def test_conditions_tell_the_end_unless_the_pod_was_never_ready() -> None:
    def with_condition(seconds: float) -> Pod:
        conditions = [{"type": "Ready", "status": "False", "lastTransitionTime": ago(seconds)}]
        value = pod("a", "Failed", states=[running(ago(500))], status={"conditions": conditions})
        return read(value)

    assert by_conditions(with_condition(30)) == Ending(NOW - timedelta(seconds=30), "conditions")
    assert by_conditions(with_condition(501)) is None
    assert settled(with_condition(501), Ending(NOW, "seen")) == Ending(NOW, "seen")


def test_the_record_has_the_identity_and_components_of_auditor_and_the_requests() -> None:
    states = [terminated("2026-11-21T11:00:00Z", "2026-11-21T11:00:10.9Z"), terminated(ago(100), ago(90))]
    requests = {"cpu": "250m", "memory": "1e6"}
    containers = [
        container("c0", limits={"cpu": "1500m", "memory": "64Mi"}, requests=requests),
        container("c1", limits={"cpu": "0.1", "memory": "1Gi"}, requests=requests),
    ]
    value = pod("a", states=states, spec={"containers": containers})
    record = shape(value, record_prefix="KUBE")
    assert record.record_id == f"KUBE-jobs-a-{value['metadata']['uid']}"
    assert amounts(record) == {
        "naive_cpu_time": 16,  # 10 s of 1.5 and 10 s of 0.1 cores
        "cpu_request": 500,
        "cpu_limit": 1600,
        "memory_request": 2_000_000,
        "memory_limit": 2**30 + 2**26,
    }


def test_what_one_container_has_no_limit_of_has_no_component() -> None:
    states = [terminated(ago(100), ago(90))] * 2
    containers = [container("c0", limits={"cpu": "1", "memory": "1Gi"}), container("c1", limits={"memory": "1Gi"})]
    assert amounts(shape(pod("a", states=states, spec={"containers": containers}))) == {"memory_limit": 2**31}


def test_requests_are_what_the_scheduler_sets_aside() -> None:
    spec = {
        "containers": [container("c0", requests={"cpu": "1"})],
        "initContainers": [
            container("big", requests={"cpu": "3"}),
            {**container("beside", requests={"cpu": "500m"}), "restartPolicy": "Always"},
        ],
        "overhead": {"cpu": "250m"},
    }
    assert amounts(shape(pod("a", spec=spec)))["cpu_request"] == 3250
    spec["initContainers"] = spec["initContainers"][1:]  # type: ignore[index]
    assert amounts(shape(pod("a", spec=spec)))["cpu_request"] == 1750


def test_other_resources_are_counted_on_request() -> None:
    gpu = {"nvidia.com/gpu": "2"}
    value = pod("a", spec={"containers": [container("c0", requests=gpu, limits=gpu)]})
    assert amounts(shape(value, resources=("nvidia.com/gpu",))) == {
        "nvidia.com/gpu_request": 2,
        "nvidia.com/gpu_limit": 2,
    }


def test_owner_node_labels_and_annotations_become_meta() -> None:
    owners = [{"kind": "Other", "name": "x"}, {"kind": "Job", "name": "j1", "controller": True}]
    value = pod("a", metadata={"ownerReferences": owners, "labels": {"app": "ü"}, "annotations": {"user": "alice\n"}})
    rules = (
        MetaRule("group_id", label="app"),
        MetaRule("user_id", annotation="user"),
        MetaRule("site_id", value="here"),
        MetaRule("account", label="none", default_value="rest"),
        MetaRule("absent", annotation="none"),
    )
    meta = shape(value, "app", "user", meta=rules, cluster="c").meta or {}
    assert {key: values[0] for key, values in meta.items()} == {
        "podname": "a", "namespace": "jobs", "status": "Succeeded", "reason": "Completed", "node": "n1",
        "owner_kind": "Job", "owner_name": "j1", "cluster": "c", "collector_type": "kubernetes",
        "group_id": "ü", "user_id": "alice\n", "site_id": "here", "account": "rest",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["x" * 5000, " ", "a\0b"])
def test_an_annotation_that_cannot_be_stored_takes_no_pod_out_of_the_account(text: str) -> None:
    value = pod("a", metadata={"annotations": {"user": text}})
    assert "user_id" not in (shape(value, "user", meta=(MetaRule("user_id", annotation="user"),)).meta or {})


def test_an_id_that_would_be_too_long_goes_without_the_name() -> None:
    value = pod("n" * 253, namespace="m" * 63)
    assert shape(value).record_id == f"-{'m' * 63}-{value['metadata']['uid']}"


def test_a_pod_that_stopped_before_it_began_is_refused() -> None:
    shaped = Shaper(Settings()).shape(read(pod("a", began=10)), Ending(NOW - timedelta(hours=1), "containers"), {})
    assert isinstance(shaped, Refused)
    assert "is before start_time" in shaped.reason


def test_memory_fills_in_what_a_wiped_status_lacks() -> None:
    before = read(pod("a", "Running"))
    after = read(pod("a", "Failed", states=[], status={"startTime": None, "containerStatuses": None}))
    merged = after.with_history(before)
    assert (merged.phase, merged.start, merged.containers) == ("Failed", before.start, before.containers)


def test_what_is_remembered_survives_the_cursor() -> None:
    some = read(pod("a", "Running", metadata={"labels": {"app": "x"}}), "app")
    scope = Scope(
        NOW, "", "17", NOW, NOW, {some.uid: some}, {"h": Held(some, NOW, NOW, END, END, 2, True)}, Marks([7, 8])
    )
    assert state_of(State({"jobs": scope}).text()) == State({"jobs": scope})


WORDS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
ANYTHING = st.recursive(WORDS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_pod_or_unreadable(raw: bytes) -> None:
    try:
        parse(raw)
    except Unreadable:
        return


@given(st.data())
def test_any_value_in_any_place_of_a_pod_makes_a_record_or_is_refused(data: st.DataObject) -> None:
    owner = [{"kind": "Job", "name": "j", "controller": True}]
    value = pod("a", metadata={"labels": {"app": "x"}, "ownerReferences": owner}, status={"conditions": []})
    place: Any = value
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not place[key] or not isinstance(place[key], dict | list) or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(ANYTHING)
    try:
        found = parse(msgspec.json.encode(value), ("app",), ("user",))
    except Unreadable:
        return
    shaped = Shaper(Settings()).shape(found, settled(found, END) or END, {})
    assert isinstance(shaped, Record | Refused)
