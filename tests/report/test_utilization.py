"""The table of usage: worked by hand, and what names may do to it."""

from __future__ import annotations

import csv
import io
import re
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from jobmeter.report.utilization.settings import Settings
from jobmeter.report.utilization.table import (
    HEADER,
    Power,
    Usage,
    as_csv,
    as_html,
    energy_note,
    lines,
    notes,
    shown_name,
)
from jobmeter.settings.fault import SettingsFaulty
from jobmeter.settings.load import load

POWER = Power(5.0, {"B": 10.0})


def _usage(name: str | None, site: str | None = "A", hours: int = 10, measured: int = 0, joules: int = 0) -> Usage:
    seconds = Fraction(hours * 3600)
    return Usage(
        name, site, 2, seconds, seconds / 2, seconds * 12, Fraction(joules), Fraction(measured * 3600), seconds, 2, 2
    )


def test_a_line_worked_by_hand() -> None:
    (line,) = lines([_usage("ada"), _usage("ada", "B", 20)], (), POWER, 0.4)
    assert (line.name, line.jobs, line.corehours, line.efficiency) == ("ada", 4, 30.0, 0.5)
    assert line.khs23h == 0.36
    assert line.energy_kwh == 0.05 + 0.2
    assert line.co2_kg == 0.1
    assert line.measured == 0


def test_what_was_measured_is_not_estimated_too() -> None:
    (line,) = lines([_usage("ada", hours=10, measured=4, joules=180_000)], (), POWER, 1)
    assert line.energy_kwh == pytest.approx(0.05 + 6 * 5 / 1000)
    assert line.measured == pytest.approx(0.05 / 0.08)
    assert energy_note([line]) == "Of the energy 62% was measured, 38% is estimated from watts per core."


def test_a_name_cannot_turn_the_reading_direction_of_the_page() -> None:
    assert ">\\u202eada<" in as_html("x", lines([_usage("\u202eada")], (), POWER, 4))


def test_each_number_stands_in_its_column_of_the_page() -> None:
    page = as_html("x", lines([_usage("ada", hours=100)], (), POWER, 4))
    cells = re.findall(r'<td align="right">([^<]*)</td>', page)
    assert cells == ["1.200", "50.0%", "100.00", "0.50", "2.00"]


def test_without_watts_and_measurements_no_energy_is_claimed() -> None:
    found = lines([_usage("ada", hours=0)], (), Power(0, {}), 1)
    assert (found[0].measured, found[0].efficiency) == (None, None)
    assert energy_note(found).startswith("No energy is known")
    assert as_csv(found).splitlines()[1] == "ada,0.0,,0.0,0.0,0.0"


def test_jobs_without_processor_time_lower_no_efficiency_and_are_told() -> None:
    silent = replace(
        _usage("ada"), cpu_seconds=Fraction(0), known_core_seconds=Fraction(0), known_jobs=0, scored_jobs=0
    )
    found = lines([_usage("ada"), silent], (), POWER, 0)
    assert (found[0].efficiency, found[0].corehours) == (0.5, 20.0)
    assert notes(found)[1:] == [
        "cpu_eff is of 2 of 4 jobs; the others have no processor time or cores.",
        "khs23h is of 2 of 4 jobs; the others have no benchmark score.",
    ]
    assert len(notes(lines([_usage("ada")], (), POWER, 0))) == 1
    assert "cpu_eff is of 2 of 4 jobs" in as_html("x", found)


@pytest.mark.parametrize(
    ("name", "gathered", "shown"),
    [
        ("ada", (), "ada"),
        (None, (), "(none)"),
        ("/atlas/Role=production/Capability=NULL", (), "atlas-production"),
        ("/atlas/Role=production", (), "atlas-production"),
        ("/atlas", (), "/atlas"),
        ("atlasprd17", ("cms", "atlas"), "atlas"),
        ("a.c", ("a+c", "."), "."),
    ],
)
def test_names_are_gathered_and_shortened(name: str | None, gathered: tuple[str, ...], shown: str) -> None:
    assert shown_name(name, gathered) == shown


def test_the_file_has_the_columns_of_the_superseded_plugin() -> None:
    text = as_csv(lines([_usage("=cmd|' /C calc'!A0"), _usage('a,"b"\nc')], (), POWER, 0))
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["user", "khs23h", "cpu_eff", "corehours", "power [kWh]", "co2 [kg]"]
    assert [row[0] for row in rows[1:]] == ["'=cmd|' /C calc'!A0", 'a,"b"\nc']


@given(st.lists(st.text(), max_size=5, unique=True))
def test_no_name_becomes_part_of_the_page(names: list[str]) -> None:
    page = as_html("June 2024", lines([_usage(name) for name in names], (), POWER, 0.1))
    assert page.count("<") == as_html("June 2024", []).count("<") + 14 * page.count("<tr><td")


amounts = st.integers(0, 10**12).map(lambda number: Fraction(number, 1000))
usages = st.lists(
    st.builds(
        Usage,
        st.sampled_from([None, "a", "b", "/v/Role=r/x"]),
        st.sampled_from([None, "A", "B"]),
        st.integers(1, 9),
        amounts,
        amounts,
        amounts,
        amounts,
        st.just(Fraction(0)),
        amounts,
        st.integers(0, 9),
        st.integers(0, 9),
    )
)


@given(usages)
def test_the_lines_sum_up_to_the_jobs(found: list[Usage]) -> None:
    made = lines(found, (), POWER, 0.5)
    assert sum(line.jobs for line in made) == sum(usage.jobs for usage in found)
    total = float(sum((usage.core_seconds for usage in found), Fraction(0)) / 3600)
    assert sum(line.corehours for line in made) == pytest.approx(total)


EXAMPLE = """
logging:
  level: INFO
  file: utilization.log
auditor:
  hosts: [localhost, other]
  port: [8000, 8001]
  timeout: 30
  site_meta_field: site
  use_tls: False
  component_fields_in_record:
    cores: Cores
    benchmark: hepscore23
    total_cpu: TotalCPU
  collector_type: slurm
utilization:
  groupedby: VoName
  grouped_list: [atlas, cms]
  watt_per_core: 4.5
  co2_per_kwh: 0.363
  interval: 86400
  file_name: usage
  file_path: .
cluster:
  watt_per_core:
    site:
      A: 5
      B: 3.5
email:
  enable_email_report: False
  smtp_server: smtp.example.org
  smtp_port: 587
"""


def test_the_superseded_plugins_file_loads_without_a_word(tmp_path: Path) -> None:
    file = tmp_path / "utilization.yml"
    file.write_text(EXAMPLE)
    loaded = load(Settings, file=file, environment={}, prefix=None)
    assert loaded.notes == ()
    assert loaded.settings.cluster.watt_per_core == {"site": {"A": 5, "B": 3.5}}
    file.write_text(EXAMPLE.replace("[8000, 8001]", "8000"))
    with pytest.raises(SettingsFaulty, match="1 ports for 2 hosts"):
        load(Settings, file=file, environment={}, prefix=None)


def test_the_columns_are_as_many_as_the_cells() -> None:
    page = as_html("x", lines([_usage("ada")], (), POWER, 0))
    assert page.count("<td") == page.count("<th scope") == len(HEADER)
