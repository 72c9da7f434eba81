"""Priorities: worked examples, and what holds for any resources."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobmeter.report.priority.command import BadTemplate, Outcome, filled, looked_into, plain, words
from jobmeter.report.priority.settings import DEFAULT_COMMAND, Settings
from jobmeter.report.priority.spread import Mode, nearest, priorities
from jobmeter.settings.fault import SettingsFaulty
from jobmeter.settings.load import load

PROVIDED = {name: Fraction(amount) for name, amount in zip("abcde", (17280, 17760, 24000, 600, 0), strict=True)}
modes = st.sampled_from(Mode)
amounts = st.dictionaries(st.text(max_size=3), st.fractions(min_value=0, max_value=10**15), min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (Mode.FULL_SPREAD, [47041, 48348, 65335, 1634, 1]),
        (Mode.SCALED_BY_SUM, [18931, 19457, 26292, 658, 1]),
    ],
)
def test_the_worked_example_of_the_superseded_program(mode: Mode, expected: list[int]) -> None:
    assert list(priorities(PROVIDED, mode, 1, 65335).values()) == expected


@pytest.mark.parametrize("mode", list(Mode))
def test_groups_that_nothing_tells_apart_get_the_lowest_priority_and_never_less(mode: Mode) -> None:
    nothing = {"a": Fraction(0), "b": Fraction(0)}
    assert priorities(nothing, mode, 7, 9) == {"a": 7, "b": 7}
    assert priorities({}, mode, 7, 9) == {}
    assert priorities({"a": Fraction(3), "b": Fraction(3)}, Mode.FULL_SPREAD, 7, 9) == {"a": 7, "b": 7}


@given(amounts, modes, st.integers(0, 10**6), st.integers(0, 10**6))
def test_priorities_are_in_range_and_in_the_order_of_what_was_provided(
    resources: dict[str, Fraction], mode: Mode, one: int, other: int
) -> None:
    lowest, highest = sorted((one, other))
    found = priorities(resources, mode, lowest, highest)
    assert found.keys() == resources.keys()
    assert all(lowest <= priority <= highest for priority in found.values())
    ordered = sorted(resources, key=lambda group: resources[group])
    assert [found[group] for group in ordered] == sorted(found.values())
    if mode is Mode.FULL_SPREAD and len(set(resources.values())) > 1:
        assert found[ordered[0]] == lowest
        assert found[ordered[-1]] == highest


@pytest.mark.parametrize(("number", "whole"), [("1/2", 1), ("3/2", 2), ("5/2", 3), ("-1/2", -1), ("49/100", 0)])
def test_a_half_is_rounded_away_from_zero(number: str, whole: int) -> None:
    assert nearest(Fraction(number)) == whole


def test_a_value_never_adds_a_word_nor_is_looked_into() -> None:
    outcome = Outcome("a b; rm {priority}", 5, Fraction(17280), ("part 1", "$(id)"))
    template = words("set --name '{group}' {1} x{2}y {resource} {resources} {priority} {3} {} \"{0}\"")
    assert filled(template, outcome) == [
        "set", "--name", "a b; rm {priority}", "part 1", "x$(id)y", "17280", "17280", "5", "{3}", "{}", "{0}",
    ]  # fmt: skip


def test_the_command_of_the_documentation() -> None:
    outcome = Outcome("group1", 5, Fraction(1), ("part1",))
    assert filled(words(DEFAULT_COMMAND), outcome)[2:] == ["PartitionName=part1", "PriorityJobFactor=5"]


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("bash -c 'echo {group} {1}'", ["a'; rm", "$(id)"]),
        ("/usr/bin/env sh -ec 'echo {2}'", []),
        ("bash -c 'echo \"$1\"' _ {group}", []),
        ("bash --login {group}", []),
        ("printf %s {group}", []),
    ],
)
def test_what_a_shell_of_the_template_would_run_is_told(template: str, told: list[str]) -> None:
    assert looked_into(words(template), "a'; rm", ("$(id)", "part 2.x-y")) == told


@pytest.mark.parametrize(
    ("number", "text"), [("17280", "17280"), ("1/2", "0.5"), ("1/3", "0.3333333333333333"), ("1/10000000", "0.0000001")]
)
def test_resources_are_written_in_plain_decimals(number: str, text: str) -> None:
    assert plain(Fraction(number)) == text


@pytest.mark.parametrize("text", ["", "  ", "echo 'x"])
def test_a_template_without_words_is_told(text: str) -> None:
    with pytest.raises(BadTemplate):
        words(text)


EXAMPLE = r"""
auditor:
  addr: "auditor_host_address"
  port: 8000
  timeout: 30 # in seconds
duration: 1209600 # in seconds
frequency: 3600 # in seconds
components:
  NumCPUs: "HEPSPEC"
group_mapping:
  group1:
    - "part1"
  group2:
    - "part2"
commands:
  - '/usr/bin/bash -c "/usr/bin/echo \"$(date --rfc-3339=sec --utc) | {resource} | {priority}\" >> {group}.txt"'
  - "/usr/bin/scontrol update PartitionName={1} PriorityJobFactor={priority}"
min_priority: 1
max_priority: 65335
computation_mode: ScaledBySum
log_level: info
prometheus:
  enable: true
  addr: "0.0.0.0"
  port: 9000
  metrics:
    - ResourceUsage
    - Priority
"""


def _loaded(folder: Path, text: str) -> Settings:
    file = folder / "priority.yml"
    file.write_text(text)
    loaded = load(Settings, file=file, environment={}, prefix=None)
    assert loaded.notes == ()
    return loaded.settings


def test_the_example_of_the_documentation_loads_without_a_word(tmp_path: Path) -> None:
    settings = _loaded(tmp_path, EXAMPLE)
    assert settings.computation_mode is Mode.SCALED_BY_SUM
    assert words(settings.templates[0])[:2] == ["/usr/bin/bash", "-c"]
    older = EXAMPLE.replace("commands:\n", "command:\n")
    assert _loaded(tmp_path, older).templates == settings.templates


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("{1} Prio", "{2} Prio", r"'group1' has no text for \{2\}"),
        ("min_priority: 1", "min_priority: 70000", "above max_priority"),
        ('"/usr/bin/scontrol', "\"/usr/bin/sc'ontrol", "No closing quotation"),
        ("  group2:", '  "$(id)":', r"'\$\(id\)' would be run by the shell of a command"),
        ("ScaledBySum", "Random", "one of FullSpread, ScaledBySum"),
    ],
)
def test_a_mistake_in_the_file_is_told(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(SettingsFaulty, match=told):
        _loaded(tmp_path, EXAMPLE.replace(old, new))
