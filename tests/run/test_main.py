from __future__ import annotations

import signal
import sys

import pytest

from jobmeter import __version__
from jobmeter.run import main as entry
from jobmeter.run.missing import sentence
from tests.process import PATIENCE_SECONDS
from tests.run.program import Program


def test_help_lists_every_command_with_its_summary(program: Program) -> None:
    program.add("one_more", "raise AssertionError('must not run')")
    code, out, err = program.run("--help")
    assert (code, err) == (0, "")
    assert "\n  one-more " in out
    assert "tests one_more\n" in out
    assert "\n  sample-config " in out


def test_help_works_from_a_zip_archive(program: Program) -> None:
    code, out, err = program.run(
        shell=f"cd {program.folder} && {sys.executable} -m zipfile -c app.zip jobmeter && rm -r jobmeter && "
        f"PYTHONPATH=app.zip {sys.executable} -m jobmeter --help"
    )
    assert (code, err) == (0, "")
    assert "\n  check " in out


def test_help_of_a_command_names_it(program: Program) -> None:
    program.add("probe", "pass")
    code, out, _ = program.run("probe", "--help")
    assert code == 0
    assert out.startswith("usage: jobmeter probe ")
    assert "tests probe" in out


def test_version_is_the_package_s(program: Program) -> None:
    assert program.run("--version") == (0, f"jobmeter {__version__}\n", "")


def test_without_a_command_the_help_and_the_code_of_wrong_use_come(program: Program) -> None:
    code, out, _ = program.run()
    assert code == 2
    assert "commands:" in out


def test_an_unknown_command_is_told_with_those_there_are(program: Program) -> None:
    code, out, err = program.run("srve")
    assert (code, out) == (2, "")
    assert "there is no command 'srve'; there is: access, " in err


def test_the_command_s_code_is_the_program_s(program: Program) -> None:
    program.add("probe", "return int(arguments.words[0])")
    assert [program.run("probe", code)[0] for code in ("0", "1", "2")] == [0, 1, 2]


@pytest.mark.parametrize("words", [("--log-level", "debug", "probe"), ("probe", "--log-level", "DEBUG")])
def test_the_log_level_may_stand_on_either_side_of_the_command(program: Program, words: tuple[str, ...]) -> None:
    program.add("probe", "import logging; logging.getLogger('jobmeter.x').debug('probe.ran count=%d', 1)")
    code, _, err = program.run(*words)
    assert code == 0
    assert err.rstrip().endswith("Z DEBUG jobmeter.x probe.ran count=1")


def test_events_below_info_are_not_logged_unless_asked(program: Program) -> None:
    program.add("probe", "import logging; logging.getLogger('jobmeter.x').debug('probe.ran')")
    assert program.run("probe") == (0, "", "")


def test_an_unexpected_fault_is_one_line_and_a_trace_only_when_debugging(program: Program) -> None:
    program.add("probe", "raise RuntimeError('two\\nlines')")
    code, out, err = program.run("probe")
    assert (code, out) == (1, "")
    assert err == "jobmeter: RuntimeError: two lines (--log-level debug shows where)\n"
    code, _, err = program.run("--log-level", "debug", "probe")
    assert code == 1
    assert "Traceback" in err


def test_a_library_that_is_not_installed_is_told_with_the_extra_that_brings_it(program: Program) -> None:
    program.add("probe_extra", 'raise ModuleNotFoundError("No module named h5py", name="h5py")')
    code, _, err = program.run("probe-extra")
    assert (code, "pip install 'jobmeter[hdf5]'" in err) == (2, True)


@pytest.mark.parametrize(
    ("library", "extra"), [("cryptography", "apel"), ("sqlalchemy.orm", "server"), ("prometheus_client", "server")]
)
def test_the_smallest_extra_is_told(library: str, extra: str) -> None:
    assert f"jobmeter[{extra}]" in str(sentence(ModuleNotFoundError(name=library)))
    assert sentence(ModuleNotFoundError(name="nothing")) is None


def test_faulty_settings_are_told_whole_with_the_code_of_wrong_use(program: Program) -> None:
    code = "from jobmeter.settings import fault as f\n"
    code += "raise f.SettingsFaulty([f.Fault('a:1', 'k', 'r'), f.Fault('a:2', '', 's')])"
    program.add("probe", code)
    assert program.run("probe") == (2, "", "a:1: k: r\na:2: s\n")


def test_leaving_with_a_sentence_says_it_and_fails(program: Program) -> None:
    program.add("probe", "sys.exit('no way')")
    assert program.run("probe") == (1, "", "no way\n")
    program.add("probe", "sys.exit()")
    assert program.run("probe") == (0, "", "")


def test_an_interrupt_leaves_quietly_with_130(program: Program) -> None:
    program.add("probe", "import time\nprint('ready', flush=True)\ntime.sleep(60)")
    # A run of the tests in the background of a shell ignores the interrupt, and what it starts would ignore it too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        started = program.start("probe")
    finally:
        signal.signal(signal.SIGINT, before)
    with started as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE_SECONDS) == ("", "")
        assert process.returncode == 130


def test_a_reader_that_goes_away_ends_the_program_quietly(program: Program) -> None:
    program.add("probe", "while True: print('line')")
    _, out, err = program.run(shell=f"{sys.executable} -m jobmeter probe | head -n 1; echo ${{PIPESTATUS[0]}}")
    assert (out, err) == ("line\n141\n", "")


def test_a_short_answer_to_nobody_ends_quietly_too(program: Program) -> None:
    program.add("probe", "import select; wait = select.poll(); wait.register(1, 0); wait.poll(); print('line')")
    _, out, err = program.run(shell=f"{sys.executable} -m jobmeter probe | true; echo ${{PIPESTATUS[0]}}")
    assert (out, err) == ("141\n", "")


def test_a_connection_that_breaks_elsewhere_is_a_failure(program: Program) -> None:
    program.add("probe", "raise BrokenPipeError('peer')")
    code, _, err = program.run("probe")
    assert code == 1
    assert "BrokenPipeError: peer" in err


@pytest.mark.parametrize(
    ("alias", "words", "expected"),
    [
        ("auditor", ["c.yaml"], ["serve", "--as-auditor", "c.yaml"]),
        ("auditor", [], ["serve", "--as-auditor"]),
        ("auditor", ["migrate"], ["migrate", "--as-auditor"]),
        ("auditor", ["c.yaml", "migrate"], ["migrate", "--as-auditor", "c.yaml"]),
        ("auditor_slurm_collector", ["c.yaml"], ["collect", "slurm", "c.yaml"]),
    ],
)
def test_a_superseded_name_is_a_command_of_ours(
    program: Program, alias: str, words: list[str], expected: list[str]
) -> None:
    for name in ("serve", "migrate", "collect"):
        program.add(name, f"print({name!r}, *arguments.flags or (), *arguments.words)")
    call = f"from jobmeter.run.main import {alias}; {alias}({words!r})"
    assert program.run(shell=f'{sys.executable} -c "{call}"') == (0, " ".join(expected) + "\n", "")


def test_every_installed_name_exists() -> None:
    for name in ("main", "auditor", "auditor_slurm_collector"):
        assert callable(getattr(entry, name))
