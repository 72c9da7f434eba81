from __future__ import annotations

import pytest

from tests.guard.edges import cycles, forbidden, lazy
from tests.guard.source import Module, modules


def test_rooms_import_only_what_the_table_allows() -> None:
    assert forbidden(modules()) == []


def test_own_modules_are_imported_at_the_top() -> None:
    assert lazy(modules()) == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert cycles(modules()) == []


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("jobmeter.model.x", "from jobmeter.wire import auditor", "jobmeter.model.x:1: model imports jobmeter.wire"),
        ("jobmeter.store.x", "import jobmeter.query.parse", "jobmeter.store.x:1: store imports jobmeter.query.parse"),
        ("jobmeter.serve.x", "from jobmeter.store import y", "jobmeter.serve.x:1: serve imports jobmeter.store"),
        ("jobmeter.sinks.x", "from ..deliver import y", "jobmeter.sinks.x:1: sinks imports jobmeter.deliver"),
        ("jobmeter.query.x", "from .. import run", "jobmeter.query.x:1: query imports jobmeter.run"),
        ("jobmeter.deliver.x", "def f():\n    import jobmeter.sinks.y", "jobmeter.deliver.x:2: deliver imports"),
        (
            "jobmeter.wire.x",
            "if TYPE_CHECKING:\n    from jobmeter.settings import y",
            "jobmeter.wire.x:2: wire imports",
        ),
        ("jobmeter.helpers.x", "", "jobmeter.helpers.x: there is no room 'helpers' in the table of rooms"),
    ],
)
def test_a_forbidden_import_is_told(name: str, text: str, told: str) -> None:
    tree = [Module(name, text), Module("jobmeter.run", "", is_package=True)]
    (found,) = forbidden(tree)
    assert found.startswith(told)


def test_an_import_inside_a_function_is_told() -> None:
    text = "def f():\n    from jobmeter.model import record\n"
    assert lazy([Module("jobmeter.store.x", text)]) == ["jobmeter.store.x:2: imports jobmeter.model inside a function"]
    assert lazy([Module("jobmeter.run.x", text)]) == []


def test_a_cycle_is_told() -> None:
    tree = [
        Module("jobmeter.model.a", "from jobmeter.model import b"),
        Module("jobmeter.model.b", "from jobmeter.model.c import x"),
        Module("jobmeter.model.c", "def f():\n    import jobmeter.model.a"),
        Module("jobmeter.model.d", "from jobmeter.model import a"),
    ]
    assert [line.split(" ")[0][-1] for line in cycles(tree)] == ["a", "b", "c"]
