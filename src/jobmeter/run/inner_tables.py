"""What a file holds for plugins, bound as the command would bind it, so that a check tells its faults, too."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from jobmeter.run.agent.jobs import refuse_unknown
from jobmeter.run.agent.sources import wanted
from jobmeter.run.gatherer.outputs import output_settings
from jobmeter.settings.agent import NodeSettings
from jobmeter.settings.fault import Fault, SettingsFaulty
from jobmeter.settings.gather import GatherSettings
from jobmeter.settings.node import Mapping


def refuse_faulty(settings: Struct, root: Mapping, file: str) -> None:
    """Raises SettingsFaulty with all faults of the tables of plugins in the file of a command."""
    faults: list[Fault] = []
    for check in _checks(settings, root, file):
        try:
            check()
        except SettingsFaulty as fault:
            faults += fault.faults
    if faults:
        raise SettingsFaulty(faults)


def _checks(settings: Struct, root: Mapping, file: str) -> list[Any]:
    if isinstance(settings, NodeSettings):
        entry = root.find("sources")
        tables = entry.value if entry is not None and isinstance(entry.value, Mapping) else None
        period = settings.sample_period_seconds
        return [lambda: refuse_unknown(settings, file), lambda: wanted(tables, period)]
    if isinstance(settings, GatherSettings):
        return [lambda: output_settings(root)]
    return []
