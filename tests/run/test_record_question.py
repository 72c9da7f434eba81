from __future__ import annotations

import argparse
from urllib.parse import parse_qsl

import pytest

from jobmeter.run.records.question import add_question, moment, one_record, query_of


def query(*words: str, otherwise: str = "") -> str:
    parser = argparse.ArgumentParser()
    add_question(parser)
    return query_of(parser.parse_args(words), otherwise)


def test_nothing_chosen_asks_for_all_or_what_is_usual() -> None:
    assert query() == ""
    assert query(otherwise="limit=50") == "limit=50"
    assert query("--limit", "3", otherwise="limit=50") == "limit=3"
    assert query("--site", "x", otherwise="limit=50").endswith("&limit=50")


def test_every_option_becomes_its_condition() -> None:
    words = "--since 2024-03-01 --until 2024-04-01T02:00:00+02:00 --site north --user ada --group g --component Cores"
    assert parse_qsl(query(*words.split(), "--sort", "runtime", "--descending", "--limit", "9")) == [
        ("stop_time[gte]", "2024-03-01T00:00:00+00:00"),
        ("stop_time[lt]", "2024-04-01T00:00:00+00:00"),
        ("meta[site_id][c][0]", "north"),
        ("meta[user_id][c][0]", "ada"),
        ("meta[group_id][c][0]", "g"),
        ("component[Cores][gte]", "0"),
        ("sort_by[desc]", "runtime"),
        ("limit", "9"),
    ]


def test_several_values_of_one_key_must_all_be_there() -> None:
    assert parse_qsl(query("--site", "a", "--meta", "site_id=b", "--meta", "voms=/x=y")) == [
        ("meta[site_id][c][0]", "a"),
        ("meta[site_id][c][1]", "b"),
        ("meta[voms][c][0]", "/x=y"),
    ]


def test_odd_names_are_encoded_and_the_structure_is_not() -> None:
    assert query("--meta", "grp[1]=it's ü&x", "--component", "cpu cores") == (
        "meta[grp%5B1%5D][c][0]=it%27s+%C3%BC%26x&component[cpu+cores][gte]=0"
    )
    assert one_record("rec/1 ü#?%&=+", None) == "record_id=rec%2F1%20%C3%BC%23%3F%25%26%3D%2B"


def test_a_raw_query_goes_as_it_is_and_stands_alone() -> None:
    assert query("--query", "?runtime[gt]=5&limit=1", otherwise="limit=50") == "runtime[gt]=5&limit=1"
    with pytest.raises(argparse.ArgumentTypeError, match="stands alone"):
        query("--query", "limit=1", "--site", "x")


def test_a_time_without_a_zone_is_utc() -> None:
    assert moment("2024-03-01").isoformat() == "2024-03-01T00:00:00+00:00"
    assert moment("2024-03-01T01:00:00-05:00").isoformat() == "2024-03-01T01:00:00-05:00"


@pytest.mark.parametrize("words", [["--since", "soon"], ["--meta", "x"], ["--limit", "-1"], ["--sort", "site"]])
def test_wrong_options_end_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        query(*words)
    assert left.value.code == 2
