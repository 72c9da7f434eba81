"""The outputs of a gatherer: tables of its file and options of its command line become opened sample sinks."""

from __future__ import annotations

from collections.abc import Mapping as Named
from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec import Struct

from jobmeter import registry
from jobmeter.contract import SampleSink
from jobmeter.settings.fault import Fault, SettingsFaulty
from jobmeter.settings.load import bind
from jobmeter.settings.node import Mapping

KIND = "sinks.samples"


class Output(NamedTuple):
    """A sink with the name that its place in the journal is kept under."""

    name: str
    sink: SampleSink


def output_settings(root: Mapping) -> dict[str, Struct]:
    """The settings of each table `[outputs.NAME]` of a gatherer's file. Raises SettingsFaulty with all faults."""
    found: dict[str, Struct] = {}
    faults: list[Fault] = []
    entry = root.find("outputs")
    tables = entry.value.entries if entry is not None and isinstance(entry.value, Mapping) else ()
    for table in tables:
        try:
            plugin = registry.module(KIND, table.key)
            node = table.value if isinstance(table.value, Mapping) else Mapping((), table.place)
            found[table.key.replace("_", "-")] = bind(plugin.Settings, node, {}, None).settings
        except registry.UnknownPlugin as fault:
            faults.append(Fault(str(table.place), f"outputs.{table.key}", str(fault)))
        except SettingsFaulty as fault:
            key = f"outputs.{table.key}"
            faults += [
                Fault(each.place, f"{key}.{each.key}".rstrip("."), each.reason, each.mend) for each in fault.faults
            ]
    if faults:
        raise SettingsFaulty(faults)
    return found


def open_outputs(chosen: Named[str, Any]) -> list[Output]:
    """The sinks, opened. Raises what opening raises, after closing those that were open."""
    opened: list[Output] = []
    try:
        for name, settings in chosen.items():
            opened.append(Output(name, registry.module(KIND, name).open_sink(settings)))
    except BaseException:
        close_outputs(opened)
        raise
    return opened


def close_outputs(outputs: Sequence[Output]) -> None:
    """Close sinks that were never fed."""
    for output in outputs:
        output.sink.close()
