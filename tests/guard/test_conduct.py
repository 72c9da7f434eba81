from __future__ import annotations

import pytest

from tests.guard.conduct import Supervisor, broad_excepts, impurities, mutable_state, names, shells, sizes
from tests.guard.source import ROOT, Module, modules

SUPERVISORS = {
    "jobmeter.run.main": Supervisor(1, "the outermost border: whatever it is becomes one line and an exit code"),
    "jobmeter.run.collector.daemon": Supervisor(
        2, "whatever one reading stumbles over, the next may do; a daemon that cannot deliver must end, visibly"
    ),
    "jobmeter.run.collector.hook": Supervisor(
        2, "a job's epilog never fails its node; a detached process has nobody to tell"
    ),
    "jobmeter.run.commands.run": Supervisor(
        1, "whatever goes wrong in measuring, the command runs on and its status counts"
    ),
    "jobmeter.run.server.archiving": Supervisor(1, "the server and the next run go on whatever one run met"),
    "jobmeter.run.server.relay": Supervisor(1, "the relay goes on whatever one try met, and disturbs the server never"),
    "jobmeter.run.up.family": Supervisor(2, "a member that falls is begun again, and its file says what it fell over"),
    "jobmeter.serve.gauges": Supervisor(1, "gauges are made anew whatever the last round met"),
    "jobmeter.run.facility.round": Supervisor(1, "a fault of one section must not silence the others"),
    "jobmeter.deliver.pump": Supervisor(1, "a fault of a sink must neither lose an item nor stop the delivery"),
    "jobmeter.deliver.feeder": Supervisor(2, "a fault of a sample sink must neither lose a sample nor stop the others"),
    "jobmeter.deliver.intake": Supervisor(1, "whoever reaches the gatherer's port must not be able to end it"),
    "jobmeter.serve.writer": Supervisor(1, "requests that share a group commit must not share the fault of one"),
    "jobmeter.serve.joining": Supervisor(1, "joining goes on whatever one job's summary met"),
    "jobmeter.serve.folding": Supervisor(1, "folding goes on whatever one part met"),
    "jobmeter.serve.counting": Supervisor(1, "counting goes on whatever one count met"),
}
"""Modules that may catch everything, how often, and why."""

EVERY_MODULE = modules()
ids = [module.name for module in EVERY_MODULE]
every_module = pytest.mark.parametrize("module", EVERY_MODULE, ids=ids)


@every_module
def test_a_module_and_its_functions_are_short(module: Module) -> None:
    assert sizes(module) == []


@pytest.mark.parametrize(
    "module", [*EVERY_MODULE, *modules(ROOT / "tests"), *modules(ROOT / "bench")], ids=lambda m: m.name
)
def test_a_module_is_named_after_something(module: Module) -> None:
    assert names(module) == []


@every_module
def test_only_supervisors_catch_everything(module: Module) -> None:
    assert broad_excepts(module, SUPERVISORS) == []


@every_module
def test_no_command_goes_through_a_shell_and_all_through_one_runner(module: Module) -> None:
    assert shells(module) == []


@every_module
def test_values_and_arithmetic_reach_nothing_outside(module: Module) -> None:
    assert impurities(module) == []


@every_module
def test_no_module_holds_state(module: Module) -> None:
    assert mutable_state(module) == []


def _probe(text: str, name: str = "jobmeter.store.probe") -> Module:
    return Module(name, text)


def test_a_long_module_or_function_is_told() -> None:
    assert sizes(_probe("x = 1\n" * 400)) == []
    assert sizes(_probe("x = 1\n" * 401)) == ["jobmeter.store.probe: 401 lines, 400 are allowed"]
    assert sizes(_probe("def f():\n" + "    x = 1\n" * 59)) == []
    assert sizes(_probe("class C:\n async def f():\n" + "  x = 1\n" * 60)) == ["jobmeter.store.probe:2: f has 61 lines"]


def test_an_empty_name_is_told() -> None:
    assert names(_probe("", "jobmeter.store.utils")) == ["jobmeter.store.utils: is named after nothing"]
    assert names(_probe("", "jobmeter.helpers.x")) == ["jobmeter.helpers.x: is named after nothing"]


@pytest.mark.parametrize("caught", ["", " Exception", " BaseException as e", " (OSError, Exception)"])
def test_a_handler_of_everything_is_told(caught: str) -> None:
    module = _probe(f"try:\n    pass\nexcept{caught}:\n    pass\n")
    assert broad_excepts(module, {}) == ["jobmeter.store.probe:3: a handler of everything"]
    assert broad_excepts(module, {module.name: Supervisor(1, "why")}) == []
    assert broad_excepts(_probe(module.text * 2), {module.name: Supervisor(1, "why")}) != []
    assert broad_excepts(_probe(""), {module.name: Supervisor(1, "why")}) != []


def test_a_handler_that_raises_again_hides_nothing() -> None:
    assert broad_excepts(_probe("try:\n    pass\nexcept BaseException:\n    x()\n    raise\n"), {}) == []
    assert broad_excepts(_probe("try:\n    pass\nexcept BaseException:\n    raise X\n"), {}) != []


@pytest.mark.parametrize(
    "text",
    [
        "run('x', shell=True)",
        "run('x', shell=flag)",
        "os.system('x')",
        "import subprocess",
        "from subprocess import run",
    ],
)
def test_a_shell_or_a_second_runner_is_told(text: str) -> None:
    assert len(shells(_probe(text))) == 1
    assert shells(_probe("import subprocess\nrun(['x'], shell=False)", "jobmeter.observe.host")) == []


def test_an_impure_import_is_told() -> None:
    assert impurities(_probe("from pathlib import Path", "jobmeter.model.x")) == [
        "jobmeter.model.x:1: model imports pathlib"
    ]
    assert impurities(_probe("import os.path, math", "jobmeter.query.x")) == ["jobmeter.query.x:1: query imports os"]
    assert impurities(_probe("import os")) == []


@pytest.mark.parametrize(
    "text",
    [
        "cache = {}",
        "seen: set[str] = set()",
        "found = [1]",
        "counts = collections.defaultdict(int)",
        "if x:\n    cache = {}",
        "KNOWN = {}\nKNOWN['a'] = 1",
        "_KNOWN = []\ndef f():\n    _KNOWN.append(1)",
        "KNOWN = set()\ndef f():\n    KNOWN.add(1)",
        "KNOWN = {}\ndef f():\n    del KNOWN['a']",
        "KNOWN = []\ndef f():\n    KNOWN[0] += 1",
        "total = 0\ndef f():\n    global total\n    total = 1",
    ],
)
def test_state_of_a_module_is_told(text: str) -> None:
    assert len(mutable_state(_probe(text))) == 1


def test_constants_are_no_state() -> None:
    text = "__all__ = ['f']\nNAMES = ['a']\n_BY = {n: 1 for n in NAMES}\n"
    text += "def f():\n    own = []\n    own.append(NAMES[0])\n"
    assert mutable_state(_probe(text)) == []


SEES_EVERYTHING = frozenset({"jobmeter.serve.joining", "jobmeter.serve.table"})
"""Modules of the server that may name the scope of everything: to look up what is to be changed or joined."""


def test_a_question_of_the_server_carries_the_scope_of_the_asker() -> None:
    naming = {module.name for module in EVERY_MODULE if module.room == "serve" and ".everything()" in module.text}
    assert naming <= SEES_EVERYTHING
