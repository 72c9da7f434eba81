"""The options of colmet-node as what they stand for: which sources, and their settings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence as Items

from jobmeter.run.agent.flags import ENABLED_BY, IPMI_COMMAND, PERF_EVENTS
from jobmeter.run.agent.sources import DEFAULT
from jobmeter.settings.fault import Place
from jobmeter.settings.node import Entry, Mapping, Node, Scalar, Sequence

_PLACE = Place("command line")
_COLMET = ("cgroup", "taskstats", "procstats")


def flagged(tables: Mapping | None, arguments: argparse.Namespace) -> tuple[tuple[str, ...], Mapping | None]:
    """The sources to read, and the tables of their settings with what the options say put over them."""
    chosen = list(_COLMET if arguments.as_colmet else DEFAULT)
    chosen += [name for option, name in ENABLED_BY.items() if getattr(arguments, option) and name not in chosen]
    if arguments.disable_procstats:
        chosen.remove("procstats")
    for table, key, value in _given(arguments):
        tables = _put(tables, table, key, value)
    return tuple(chosen), tables


def _given(arguments: argparse.Namespace) -> list[tuple[str, str, Node]]:
    given: list[tuple[str, str, Node]] = []
    if arguments.enable_perfhw or arguments.perfhw_list is not None:
        given.append(("perf", "events", _words(arguments.perfhw_list or PERF_EVENTS)))
        given.append(("perf", "mapping_file", _mapping(arguments)))
    if arguments.enable_ipmipower or arguments.ipmipower_cmd is not None:
        given.append(("ipmi", "command", _words(arguments.ipmipower_cmd or IPMI_COMMAND)))
        given.append(("ipmi", "period_seconds", Scalar(arguments.sample_period or 5.0, _PLACE)))
    if arguments.enable_RAPL:
        given.append(("rapl", "mapping_file", _mapping(arguments)))
    if arguments.enable_temperature:
        given.append(("thermal", "mapping_file", _mapping(arguments)))
    if arguments.omnipath:
        given.append(("infiniband", "omnipath", Scalar(True, _PLACE)))
    if arguments.lustre_prefix is not None:
        given.append(("lustre", "prefix", Scalar(arguments.lustre_prefix, _PLACE, arguments.lustre_prefix)))
    elif arguments.as_colmet and arguments.enable_lustre:
        given.append(("lustre", "prefix", Scalar("lustre", _PLACE, "lustre")))
    if arguments.as_colmet and arguments.sample_period is not None:
        given.append(("taskstats", "period_seconds", Scalar(arguments.sample_period, _PLACE)))
    if arguments.disable_procstats:
        given.append(("procstats", "enabled", Scalar(False, _PLACE)))
    return given


def _mapping(arguments: argparse.Namespace) -> Node:
    """Whether a source writes its mapping file, as Colmet does."""
    return Scalar(bool(arguments.as_colmet), _PLACE)


def _words(words: Items[str]) -> Node:
    return Sequence(tuple(Scalar(word, _PLACE, word) for word in words), _PLACE)


def _put(tables: Mapping | None, table: str, key: str, value: Node) -> Mapping:
    entries = () if tables is None else tables.entries
    place = _PLACE if tables is None else tables.place
    inner = next((each.value for each in entries if each.key == table and isinstance(each.value, Mapping)), None)
    kept = () if inner is None else tuple(each for each in inner.entries if each.key != key)
    fresh = Mapping((*kept, Entry(key, value, _PLACE)), _PLACE if inner is None else inner.place)
    return Mapping((*(each for each in entries if each.key != table), Entry(table, fresh, _PLACE)), place)
