"""The file of `jobmeter facility`: the whole of it is checked, also the tables of sections that do not run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from jobmeter.run.facility.settings import FacilitySettings, file_struct
from jobmeter.settings.load import load


def whole_file(
    file: Path | None, variables: Mapping[str, str]
) -> tuple[FacilitySettings, dict[str, Struct], tuple[str, ...]]:
    """The settings at the top, those of each section by its name, and the notes. Raises SettingsFaulty."""
    kind: Any = file_struct()
    loaded = load(kind, file=file, environment=variables, prefix=FacilitySettings.environment_prefix)
    values = structs.asdict(loaded.settings)
    top = FacilitySettings(**{name: values.pop(name) for name in FacilitySettings.__struct_fields__})
    return top, {name.replace("_", "-"): section for name, section in values.items()}, loaded.notes
