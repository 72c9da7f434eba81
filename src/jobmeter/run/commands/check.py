"""`jobmeter check`: every fault of a configuration file with its line, before anything is started with it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import msgspec
from msgspec import Struct

from jobmeter.run import kinds
from jobmeter.settings.fault import Fault, SettingsFaulty
from jobmeter.settings.load import bind, read
from jobmeter.settings.node import Mapping

SUMMARY: str = "says every fault of a configuration file, with its line"


class Verdict(Struct, frozen=True):
    """What `--json` prints. `kind` names the settings that the file was read as, None where that stayed open."""

    file: str
    kind: str | None
    fine: bool
    faults: tuple[Fault, ...]
    notes: tuple[str, ...]


def declare(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("file", metavar="CONFIG", type=Path, help="the configuration file, YAML or TOML")
    parser.add_argument(
        "--for",
        dest="kind",
        metavar="NAME",
        help="whose settings these are; told by the keys when left out, then by the file's name",
    )
    parser.add_argument("--json", action="store_true", help="print the verdict as one JSON object")


def execute(arguments: argparse.Namespace) -> int:
    """Say what is wrong and what has no effect. 0 when the file is fine, else 2."""
    try:
        verdict = judge(arguments.file, arguments.kind)
    except kinds.NoSuchKind as fault:
        print(fault, file=sys.stderr)  # noqa: T201
        return 2
    if arguments.json:
        print(msgspec.json.encode(verdict).decode())  # noqa: T201
    else:
        _print(verdict)
    return 0 if verdict.fine else 2


def judge(file: Path, kind: str | None) -> Verdict:
    """The verdict on a file, read as the settings `kind`, or as those that its keys speak for."""
    name = kind
    try:
        root = read(file)
        name = _guessed(root, file) if kind is None else kind
        struct = kinds.settings(name)
        loaded = bind(struct, root, os.environ, getattr(struct, "environment_prefix", None))
        if hasattr(struct, "plugin_tables"):
            from jobmeter.run.inner_tables import refuse_faulty  # noqa: PLC0415 - other files need no plugins

            refuse_faulty(loaded.settings, root, str(file))
    except SettingsFaulty as fault:
        return Verdict(str(file), name, False, fault.faults, ())
    refused = tuple(Fault(str(file), "", sentence) for sentence in kinds.not_offered(loaded.settings))
    return Verdict(str(file), name, not refused, refused, loaded.notes)


def _guessed(root: Mapping, file: Path) -> str:
    likely = kinds.guess(root)
    if len(likely) == 1:
        return likely[0]
    if file.stem in (likely or kinds.names()):
        return file.stem
    reason = f"could be settings of {' or '.join(likely) or 'nothing that is installed'}"
    raise SettingsFaulty([Fault(str(file), "", reason, "say which with --for NAME")])


def _print(verdict: Verdict) -> None:
    for fault in verdict.faults:
        print(fault)  # noqa: T201
    for note in verdict.notes:
        print(f"note: {note}")  # noqa: T201
    if verdict.fine:
        print(f"{verdict.file}: fine, as settings of {verdict.kind}")  # noqa: T201
    else:
        known = "" if verdict.kind is None else f", read as settings of {verdict.kind}"
        print(f"{verdict.file}: {len(verdict.faults)} fault{'s'[: len(verdict.faults) != 1]}{known}")  # noqa: T201
