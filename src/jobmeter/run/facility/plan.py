"""From a file, the environment and the command line to what a run of `jobmeter facility` does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec
from msgspec import Struct

from jobmeter import registry
from jobmeter.contract import Section
from jobmeter.observe.host import Host
from jobmeter.run.facility.settings import KIND, FacilitySettings, ordered
from jobmeter.settings.fault import Fault, SettingsFaulty, WrongValue

Tables = Mapping[str, Mapping[str, Any]]
"""Values by table ("" for the top) and key, as options give them."""

_STRICT: dict[str, dict[str, Any]] = {
    "send": {"timestamps": "never"},
    "jupyter": {"ended_too": True},
    "ssh": {"as_it_was": True},
    "host": {"as_it_was": True},
    "batch": {"live_runtime": False, "exactly_once": False},
}
"""What --strict puts over the settings: the behaviour of the superseded program, where ours differs."""


class SectionPlugin(Protocol):
    """The module of a section."""

    Settings: type[Struct]

    def open_section(self, settings: Struct, host: Host) -> Section:
        """The section on this host."""
        ...


class Chosen(Struct, frozen=True):
    """A section to run, with its settings."""

    name: str
    plugin: Any
    settings: Any


class Plan(Struct, frozen=True):
    """What a run does."""

    settings: FacilitySettings
    sections: tuple[Chosen, ...]
    notes: tuple[str, ...]


def plan(file: Path | None, given: Tables, *, strict: bool) -> Plan:
    """The settings of the file and the environment, with what was given put over them.

    Raises SettingsFaulty. Without a file and without variables of ours, what reads files is not even imported.
    """
    prefix = f"{FacilitySettings.environment_prefix}_"
    variables = {name: value for name, value in os.environ.items() if name.startswith(prefix)}
    notes: tuple[str, ...] = ()
    settings = FacilitySettings()
    tables: dict[str, Struct] = {}
    if file is not None or variables:
        from jobmeter.run.facility.file import whole_file  # noqa: PLC0415 - see above

        settings, tables, notes = whole_file(file, variables)
    over = {table: {**_STRICT.get(table, {}), **given.get(table, {})} for table in _STRICT} if strict else given
    send = {**over.get("send", {})}
    if "token" in send or "token_file" in send:
        # Which of the two is given last counts; the other may stand in the file.
        send = {"token": None, "token_file": None, **send}
    top = {**given.get("", {}), "send": changed(settings.send, send, "send")}
    settings = changed(settings, top, "")
    sections = []
    for name in ordered(settings.sections):
        plugin = cast("SectionPlugin", registry.module(KIND, name))
        own = tables.get(name) or plugin.Settings()
        sections.append(Chosen(name, plugin, changed(own, over.get(name, {}), name)))
    return Plan(settings, tuple(sections), notes)


def changed(settings: Any, values: Mapping[str, Any], table: str) -> Any:
    """The settings with some values changed, checked as those of a file are. Raises SettingsFaulty."""
    if not values:
        return settings
    whole = {name: getattr(settings, name) for name in settings.__struct_fields__} | dict(values)
    try:
        return msgspec.convert(whole, type(settings), from_attributes=True)
    except WrongValue as fault:
        raise _faulty(f"{table}.{fault.key}".lstrip("."), fault.reason) from None
    except msgspec.ValidationError as fault:
        if isinstance(fault.__cause__, WrongValue):
            raise _faulty(f"{table}.{fault.__cause__.key}".lstrip("."), fault.__cause__.reason) from None
        raise _faulty(table, str(fault)) from None


def _faulty(key: str, reason: str) -> SettingsFaulty:
    return SettingsFaulty([Fault("command line", key, reason)])
