"""What every plugin brings along."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Annotated, Any, get_args

import pytest
from msgspec import Meta, Struct

from jobmeter import registry
from jobmeter.run import kinds
from jobmeter.settings.load import load
from jobmeter.settings.options import options
from jobmeter.settings.sample import Language, sample
from tests.guard.source import ROOT

OPENERS = {
    "observe.batch": ("open_source", ["settings", "host"]),
    "observe.kernel": ("open_source", ["settings", "host"]),
    "observe.facility": ("open_section", ["settings", "host"]),
    "sinks": ("open_sink", ["settings"]),
    "sinks.samples": ("open_sink", ["settings"]),
}
PLUGINS = [(kind, name) for kind in registry.KINDS for name in registry.names(kind)]
every_plugin = pytest.mark.parametrize(("kind", "name"), PLUGINS)


def missing(kind: str, module: ModuleType | SimpleNamespace) -> list[str]:
    """What a plugin's module lacks."""
    found = []
    if not (module.__doc__ or "").strip():
        found.append("a docstring")
    settings = getattr(module, "Settings", None)
    if not (isinstance(settings, type) and issubclass(settings, Struct) and settings.__struct_config__.frozen):
        found.append("Settings, a frozen Struct")
    name, parameters = OPENERS[kind]
    opener = getattr(module, name, None)
    if opener is None or list(inspect.signature(opener).parameters) != parameters:
        found.append(f"{name}({', '.join(parameters)})")
    return found


def undescribed(settings: type[Struct]) -> list[str]:
    """Settings without a description, and a Struct without a docstring."""
    found = [option.key for option in options(settings) if not option.description and "[]" not in option.key]
    return found if settings.__doc__ else [*found, settings.__name__]


def unloadable(settings: type[Struct], folder: Path) -> list[str]:
    """The languages in which the sample of these settings does not load."""
    found = []
    for language in get_args(Language):
        file = folder / f"sample.{language}"
        file.write_text(sample(settings, language), encoding="utf-8")
        try:
            load(settings, file=file, environment={}, prefix=None)
        except ValueError as fault:
            found.append(f"{language}: {fault}")
    return found


def uncased(kind: str, name: str, tests: Path) -> bool:
    """Whether a plugin has neither golden cases nor, being a sink, tests of its conversation with a real peer."""
    file = name.replace("-", "_")
    if any(any((tests / "cases" / folder).glob("*")) for folder in (name, file)):
        return False
    return not (kind.startswith("sinks") and (tests / kind.replace(".", "/") / f"test_{file}.py").exists())


@every_plugin
def test_a_plugin_has_docstring_settings_and_opener(kind: str, name: str) -> None:
    assert missing(kind, registry.module(kind, name)) == []


@every_plugin
def test_a_plugin_has_cases(kind: str, name: str) -> None:
    assert not uncased(kind, name, ROOT / "tests")


@pytest.mark.parametrize("name", kinds.names())
def test_every_setting_is_described(name: str) -> None:
    assert undescribed(kinds.settings(name)) == []


@pytest.mark.parametrize("name", kinds.names())
def test_every_sample_loads(name: str, tmp_path: Path) -> None:
    assert unloadable(kinds.settings(name), tmp_path) == []


class _Bare(Struct, frozen=True):
    address: str = ""


class _Described(Struct, frozen=True):
    """Settings."""

    address: Annotated[str, Meta(description="Where to send.")] = ""


class _Unsampled(Struct, frozen=True):
    """Settings."""

    address: Annotated[str, Meta(description="Where to send.")]

    def __post_init__(self) -> None:
        if self.address == "...":
            raise ValueError("is no address")


def _module(**parts: Any) -> SimpleNamespace:
    return SimpleNamespace(**{"__doc__": None, **parts})


def test_a_plugin_that_lacks_something_is_told() -> None:
    assert missing("sinks", _module()) == ["a docstring", "Settings, a frozen Struct", "open_sink(settings)"]
    whole = _module(__doc__="A sink.", Settings=_Described, open_sink=lambda settings: settings)
    assert missing("sinks", whole) == []
    assert missing("observe.batch", whole) == ["open_source(settings, host)"]


def test_a_setting_that_is_not_described_is_told() -> None:
    assert undescribed(_Bare) == ["address", "_Bare"]
    assert undescribed(_Described) == []


def test_a_sample_that_does_not_load_is_told(tmp_path: Path) -> None:
    assert len(unloadable(_Unsampled, tmp_path)) == 2
    assert unloadable(_Described, tmp_path) == []


def test_a_plugin_without_cases_is_told(tmp_path: Path) -> None:
    assert uncased("observe.batch", "slurm-epilog", tmp_path)
    assert uncased("sinks", "server", tmp_path)
    (tmp_path / "cases" / "slurm_epilog" / "completed").mkdir(parents=True)
    assert not uncased("observe.batch", "slurm-epilog", tmp_path)
    (tmp_path / "sinks").mkdir()
    (tmp_path / "sinks" / "test_server.py").write_text("")
    assert not uncased("sinks", "server", tmp_path)
