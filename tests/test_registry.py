from __future__ import annotations

import subprocess
import sys
import zipapp
import zipfile
from pathlib import Path

import pytest

from jobmeter import registry

SOURCE = Path(registry.__file__).parent


def _python(code: str, *paths: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(map(str, paths)), "PATH": ""},
    )
    return done.stdout.strip()


def test_the_plugins_are_the_modules_in_the_folder() -> None:
    for kind in registry.KINDS:
        folder = SOURCE.joinpath(*kind.split("."))
        files = {path.stem.replace("_", "-") for path in folder.glob("*.py") if not path.stem.startswith("_")}
        assert files <= set(registry.names(kind))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the registry with plugins of its own, as the package would look with two sources in it."""
    root = tmp_path / "package"
    for folder in ("jobmeter", "jobmeter/observe", "jobmeter/observe/batch", "jobmeter/sinks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / "__init__.py").write_text("")
    (root / "jobmeter/registry.py").write_text((SOURCE / "registry.py").read_text())
    (root / "jobmeter/observe/batch/one_two.py").write_text("print('imported one_two')\n")
    (root / "jobmeter/observe/batch/_inner.py").write_text("")
    (root / "jobmeter/sinks/away.py").write_text("import a_library_that_is_not_there\n")
    return root


def test_listing_imports_no_plugin(package: Path) -> None:
    code = "from jobmeter import registry; print(registry.names('observe.batch'), registry.names('sinks'))"
    assert _python(code, package) == "('one-two',) ('away',)"


def test_a_plugin_is_imported_by_either_spelling(package: Path) -> None:
    code = "from jobmeter import registry; print(registry.module('observe.batch', {!r}).__name__)"
    for name in ("one-two", "one_two"):
        assert _python(code.format(name), package) == "imported one_two\njobmeter.observe.batch.one_two"


def test_the_plugins_are_found_in_a_zip_archive(package: Path, tmp_path: Path) -> None:
    zipapp.create_archive(package, tmp_path / "app.pyz", main="jobmeter.registry:names")
    code = "from jobmeter import registry; print(registry.names('observe.batch'), registry.__file__)"
    assert _python(code, tmp_path / "app.pyz").startswith("('one-two',) ")


def test_an_entry_point_of_another_package_is_a_plugin(package: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "other-1.dist-info").mkdir(parents=True)
    (other / "other-1.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1\n")
    points = "[jobmeter.sinks]\nfar-away = other_sink\nno-module = other_sink:Thing\n"
    (other / "other-1.dist-info/entry_points.txt").write_text(points)
    (other / "other_sink.py").write_text("class Thing: ...\n")
    code = (
        "from jobmeter import registry; print(registry.names('sinks'), registry.module('sinks', 'far-away').__name__)\n"
        "try: registry.module('sinks', 'no-module')\n"
        "except registry.UnknownPlugin as fault: print(fault)"
    )
    assert _python(code, package, other).splitlines() == [
        "('away', 'far-away', 'no-module') other_sink",
        "the entry point no-module of jobmeter.sinks does not name a module",
    ]


def test_a_name_that_is_not_there_is_told_with_those_that_are(package: Path) -> None:
    code = (
        "from jobmeter import registry\n"
        "try: registry.module('observe.batch', 'pbs')\n"
        "except registry.UnknownPlugin as fault: print(fault)"
    )
    assert _python(code, package) == "there is no observe.batch plugin 'pbs'; there is: one-two"


def test_a_missing_library_is_told_as_itself(package: Path) -> None:
    code = (
        "from jobmeter import registry\n"
        "try: registry.module('sinks', 'away')\n"
        "except ModuleNotFoundError as fault: print(fault.name)"
    )
    assert _python(code, package) == "a_library_that_is_not_there"


def test_a_kind_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(registry.UnknownPlugin, match=r"kind of plugin 'pipes'; there is: observe\.batch, .*sinks"):
        registry.names("pipes")


def test_no_entry_point_means_that_the_slow_listing_is_left_alone(package: Path) -> None:
    code = (
        "import sys; from jobmeter import registry; registry.names('sinks'); print('importlib.metadata' in sys.modules)"
    )
    assert _python(f"import sys; sys.path[:] = [{str(package)!r}, *sys.path[1:4]]; {code}") == "False"


def test_an_entry_point_in_an_archive_is_a_plugin(package: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("other-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: other\nVersion: 1\n")
        archive.writestr("other-1.dist-info/entry_points.txt", "[jobmeter.sinks]\nzipped = other_sink\n")
    code = "from jobmeter import registry; print(registry.names('sinks'))"
    assert _python(code, package, tmp_path / "other.zip") == "('away', 'zipped')"
