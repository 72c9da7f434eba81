"""The settings of the server, from all places where they may stand.

Layers, later ones win: for AUDITOR's name `configuration/base.yaml` and the file that AUDITOR_ENVIRONMENT chooses; the
configuration file; AUDITOR_… variables; JOBMETER_… variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jobmeter.serve.settings import ServeSettings
from jobmeter.settings.environment import overlay, overrides
from jobmeter.settings.fault import Fault, Place, SettingsFaulty
from jobmeter.settings.load import Loaded, bind, read
from jobmeter.settings.node import Entry, Node
from jobmeter.settings.node import Mapping as Tree

_AUDITOR = "AUDITOR"
_OURS = "JOBMETER"
_ENVIRONMENT = "AUDITOR_ENVIRONMENT"


def load_settings(
    config: Path | None, environment: Mapping[str, str], folder: Path, *, as_auditor: bool = False
) -> Loaded[ServeSettings]:
    """The settings of all layers.

    AUDITOR's own files are looked for below `folder` when it is to be `as_auditor`, or AUDITOR_ENVIRONMENT is set.

    Raises SettingsFaulty.
    """
    layers = _auditor_files(folder, environment) if as_auditor or _ENVIRONMENT in environment else []
    if config is not None:
        layers.append(config)
    tree = Tree((), Place("settings"))
    for layer in layers:
        tree = merged(tree, read(layer))
    given = {name: value for name, value in environment.items() if name != _ENVIRONMENT}
    found, notes = overrides(ServeSettings, given, _AUDITOR)
    loaded = bind(ServeSettings, overlay(tree, found), given, _OURS)
    return Loaded(loaded.settings, (*notes, *loaded.notes))


def _auditor_files(folder: Path, environment: Mapping[str, str]) -> list[Path]:
    chosen = environment.get(_ENVIRONMENT, "local").lower()
    if chosen not in ("local", "production"):
        place = f"environment variable {_ENVIRONMENT}"
        raise SettingsFaulty([Fault(place, "environment", f'"{chosen}" is neither local nor production')])
    for where in (folder / "configuration", folder / "auditor" / "configuration"):
        found = [where / f"{name}{ending}" for name in ("base", chosen) for ending in (".yaml", ".yml")]
        found = [file for file in found if file.is_file()]
        if found:
            return found
    return []


def merged(under: Tree, over: Tree) -> Tree:
    """Both trees in one; where both have a key, tables are merged and any other value of `over` wins."""
    entries = {entry.key: entry for entry in under.entries}
    for entry in over.entries:
        known = entries.get(entry.key)
        value: Node = entry.value
        if known is not None and isinstance(known.value, Tree) and isinstance(value, Tree):
            value = merged(known.value, value)
        entries[entry.key] = Entry(entry.key, value, entry.place)
    return Tree(tuple(entries.values()), over.place, over.tag)


def database_url(settings: ServeSettings, data: Path) -> str:
    """Where the records are: as said, or in a file under the data folder, which is made."""
    if settings.database_url is not None:
        return settings.database_url
    if settings.database is not None:
        return settings.database.url
    data.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{data / 'records.db'}"
