from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from jobmeter.settings.fault import SettingsFaulty
from jobmeter.settings.load import load
from tests.settings.declarations import Everything

Told = Callable[[str, str], list[str]]
Read = Callable[..., Everything]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Everything as read from a text; `name` says the language by its ending."""

    def reader(text: str, name: str = "s.yaml", environment: dict[str, str] | None = None) -> Everything:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return load(Everything, file=tmp_path / name, environment=environment or {}, prefix="P").settings

    return reader


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """The faults of a text as lines, the folder left out."""

    def teller(text: str, name: str) -> list[str]:
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(SettingsFaulty) as caught:
            load(Everything, file=tmp_path / name, environment={}, prefix=None)
        return [str(fault).replace(f"{tmp_path}/", "") for fault in caught.value.faults]

    return teller
