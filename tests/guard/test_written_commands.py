"""Every command and option of ours that is written about exists."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import pytest

from jobmeter.run.collector.sources import Chosen
from jobmeter.run.commands import command, summaries
from jobmeter.run.main import add_log_level
from tests.guard.source import ROOT

WRITTEN = sorted(
    file
    for folder, pattern in ((ROOT, "*.md"), (ROOT / "docs", "**/*.md"), (ROOT / "packaging", "**/*"))
    for file in folder.glob(pattern)
    if file.is_file() and file.name != "CHANGELOG.md"
)
_CODE = re.compile(r"^ *```.*?^ *```|`[^`\n]+`", re.DOTALL | re.MULTILINE)
_CALL = re.compile(r"(?<![\w./@:+-])(?:[\w./~$-]*bin/)?jobmeter((?:[ \t]+[^\s`;&#()<>]+)+)")
_NAME = re.compile(r"[a-z][a-z-]*")
_OPTION = re.compile(r"--?[a-z][a-z-]*")


@cache
def _parser(name: str) -> argparse.ArgumentParser:
    """The parser of one command, or with "" that of the options before any."""
    parser = argparse.ArgumentParser(name)
    if name:
        command(name).declare(parser)
    else:
        parser.add_argument("--version")
    add_log_level(parser)
    return parser


def _below(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """The parsers of the words that may come next, where these choose one."""
    for action in parser._actions:
        if isinstance(action, Chosen):
            return action.parsers()
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def calls(file: Path) -> Iterator[list[str]]:
    """The words behind our program's name, wherever a file calls it."""
    text = file.read_text(encoding="utf-8", errors="replace").replace("\\\n", " ")
    pieces = _CODE.findall(text) if file.suffix == ".md" else re.sub(r"(?m)^\s*#.*", "", text).splitlines()
    for line in (line for piece in pieces for line in piece.strip("`").splitlines()):
        for call in _CALL.finditer(line):
            words = call[1].partition(" | ")[0].split()
            # What the program says of itself, and the user of this name.
            if words[0] != "is" and not line[: call.start()].endswith("-u "):
                yield words


def fault_of(words: Sequence[str]) -> str | None:
    """What is wrong with a call, or None. Words that are no name stand for anything."""
    parser, where = _parser(""), "jobmeter"
    options = dict(parser._option_string_actions)
    below: Mapping[str, argparse.ArgumentParser] = {name: _parser(name) for name in summaries()}
    waiting = iter(word.strip("'\"[],.:") for word in words)
    for word in waiting:
        if word == "--":
            return None
        if _OPTION.fullmatch(option := word.partition("=")[0]):
            if option not in options:
                return f"{where} has no option {option}"
            if options[option].nargs is None and option == word:
                next(waiting, None)
        elif below and _NAME.fullmatch(word.partition("|")[0]):
            if unknown := set(word.split("|")) - set(below):
                return f"{where} has no {min(unknown)}"
            where, parser = f"{where} {word}", below[word.partition("|")[0]]
            options |= parser._option_string_actions
            below = _below(parser)
        else:
            below = {}
    return None


@pytest.mark.parametrize("file", WRITTEN, ids=lambda file: str(file.relative_to(ROOT)))
def test_commands_that_are_written_about_exist(file: Path) -> None:
    assert [f"{fault}: jobmeter {' '.join(words)}" for words in calls(file) if (fault := fault_of(words))] == []


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ("serve --database URL", None),
        ("--log-format json serve", None),
        ("run --name x -- sleep --forever", None),
        ("records versions|withdraw ID", None),
        ("collect slurm -c FILE --once", None),
        ("server", "jobmeter has no server"),
        ("serve --databse URL", "jobmeter serve has no option --databse"),
        ("records versions|undo ID", "jobmeter records has no undo"),
        ("collect pbs FILE", "jobmeter collect has no pbs"),
    ],
)
def test_a_call_of_what_is_not_there_is_told(tmp_path: Path, call: str, fault: str | None) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Say `jobmeter {call}`, and then:\n\n```sh\nsudo /usr/bin/jobmeter {call}  # now\n```\n")
    assert [fault_of(words) for words in calls(page)] == [fault, fault]
