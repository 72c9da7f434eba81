"""Golden cases of the sources of samples: a machine's files, the jobs on it, the samples that must come of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from jobmeter import registry
from jobmeter.contract import SourceAbsent
from jobmeter.model.metric import Catalogue
from jobmeter.model.sample import Sample
from jobmeter.observe.cgroups import Hierarchies, hierarchies
from jobmeter.observe.host import Host
from jobmeter.observe.jobs.finder import JobFinder
from jobmeter.observe.jobs.profile import AUTOMATIC, built_in
from jobmeter.settings.load import load
from tests.observe.machine_tree import host_of

CASES = Path(__file__).parents[1] / "cases"
NAMES = registry.names("observe.kernel")
ALL = [
    (name, case.name)
    for name in NAMES
    for case in sorted((CASES / name).glob("*"))
    if list(case.glob("*.tree")) and case.name != "absent"
]
NOW_NS = 1_700_000_000_000_000_000


def found(host: Host) -> JobFinder:
    """The jobs of a recorded machine."""
    try:
        trees = hierarchies(host)
    except SourceAbsent:
        trees = Hierarchies({}, None)
    return JobFinder(host, trees, [built_in(name) for name in (*AUTOMATIC, "jobmeter")])


def shown(samples: Iterable[Sample]) -> list[dict[str, Any]]:
    """Samples as the expected file has them."""
    return [
        {
            "job": None if sample.job is None else f"{sample.job.manager} {sample.job.job}",
            **({"instance": sample.instance} if sample.instance else {}),
            **({"involved": [job.job for job in sample.involved]} if sample.involved else {}),
            "values": dict(zip(sample.metrics, sample.values, strict=True)),
        }
        for sample in samples
    ]


@pytest.mark.parametrize(("name", "case"), ALL)
def test_a_recorded_machine_gives_these_samples(name: str, case: str, tmp_path: Path) -> None:
    folder = CASES / name / case
    host = host_of(folder, tmp_path)
    plugin = registry.module("observe.kernel", name)
    file = folder / "settings.toml"
    settings = load(plugin.Settings, file=file if file.exists() else None, environment={}, prefix=None).settings
    finder = found(host)
    try:
        finder.look(NOW_NS)
        source = plugin.open_source(settings, host)
        samples = list(source.read(NOW_NS, finder.jobs))
        source.close()
    finally:
        finder.close()
    expected = folder / "expected.json"
    if os.environ.get("RECORD"):
        expected.write_text(json.dumps(shown(samples), indent=1) + "\n")
    assert shown(samples) == json.loads(expected.read_text())
    catalogue = Catalogue(source.metrics)
    assert all(metric in catalogue for sample in samples for metric in sample.metrics)
    assert all(metric.name.startswith(f"{name}_") for metric in catalogue)


@pytest.mark.parametrize("name", [name for name in NAMES if (CASES / name / "absent").exists()])
def test_a_machine_without_it_is_no_fault(name: str, tmp_path: Path) -> None:
    plugin = registry.module("observe.kernel", name)
    with pytest.raises(SourceAbsent):
        plugin.open_source(plugin.Settings(), host_of(CASES / name / "absent", tmp_path))
