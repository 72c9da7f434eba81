"""`jobmeter size`: sums of measured figures."""

from __future__ import annotations

import json
import subprocess

import pytest

from jobmeter.run.commands import size
from tests.run.test_serve import command, environment

ASKED = size.Asked(nodes=100, jobs_a_day=5000, jobs_on_node=8, period_seconds=5, raw_days=30, years=5)


def needs(asked: size.Asked) -> dict[str, float]:
    return {need.name: need.value for need in size.needed(asked)}


def test_disk_of_samples_is_values_times_bytes_with_headroom() -> None:
    values = 100 * (size.CONSTANTS["values_node"].value + 8 * size.CONSTANTS["values_job"].value)
    raw = values / 5 * 86_400 * 30 * size.CONSTANTS["value_raw"].value * 1.3
    assert needs(ASKED)["disk, samples as they came"] == pytest.approx(raw)


def test_twice_the_facility_needs_twice_the_disk_and_network() -> None:
    twice = size.Asked(200, 10_000, 8, 5, 30, 5)
    for name in ("samples", "disk, samples as they came", "disk, records and summaries", "network to the server"):
        assert needs(twice)[name] == pytest.approx(2 * needs(ASKED)[name])


def test_every_figure_has_a_unit_and_a_source() -> None:
    assert all(one.unit and one.source and one.value > 0 for one in size.CONSTANTS.values())


def test_it_prints_needs_with_units_and_as_json() -> None:
    words = command(["size", "--nodes", "100", "--jobs", "5000"])
    text = subprocess.run(words, env=environment({}), capture_output=True, text=True, check=True).stdout
    assert "disk, samples as they came" in text
    assert "GiB" in text
    told = json.loads(
        subprocess.run([*words, "--json"], env=environment({}), capture_output=True, text=True, check=True).stdout
    )
    assert told["asked"]["nodes"] == 100
    assert {"name", "value", "unit", "how"} <= set(told["needs"][0])


@pytest.mark.parametrize("wrong", [["--nodes", "0"], ["--nodes", "-5"], ["--nodes", "x"], ["--period", "0"]])
def test_what_is_no_number_is_wrong_use(wrong: list[str]) -> None:
    words = command(["size", "--nodes", "5", "--jobs", "5", *wrong])
    assert subprocess.run(words, env=environment({}), capture_output=True, check=False).returncode == 2
