"""The reference pages, from what commands and settings declare: `python -m jobmeter.run.reference FOLDER`.

The pages are kept in the repository; a test compares them with what this module would write.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from jobmeter import registry
from jobmeter.model.metric import Metric
from jobmeter.observe.selfmeasure import METRICS as AGENT_METRICS
from jobmeter.run import kinds
from jobmeter.run.collector.sources import Chosen
from jobmeter.run.commands import command, summaries
from jobmeter.run.main import add_log_level
from jobmeter.settings.options import Option, options

_HEAD = "<!-- Written by `make docs` from the code. Change the code, not this page. -->"
_SAMPLE_AND_CHECK = (
    "`jobmeter sample-config NAME` prints a commented file of these, `jobmeter check FILE` says what is wrong with one."
)

_METRICS_ARE = (
    "What `jobmeter node` measures. A counter only grows; a gauge is a level at an instant. A metric that a machine or "
    "a job does not have is left out. [colmet_columns.py](../../src/jobmeter/wire/colmet_columns.py) says which of "
    "them fills which column of Colmet's records."
)


def pages() -> dict[str, str]:
    """The pages by file name."""
    return {"commands.md": _commands(), "settings.md": _settings(), "metrics.md": _metrics()}


def _metrics() -> str:
    """What the sources of samples measure, as their modules declare it."""
    lines = [_HEAD, "", "# Metrics", "", _METRICS_ARE]
    for name in registry.names("observe.kernel"):
        module = registry.module("observe.kernel", name)
        about = " ".join((module.__doc__ or "").split())
        lines += ["", f"## {name}", "", about, ""]
        lines += _listed(getattr(module, "METRICS", ()))
    lines += ["", "## agent", "", "What the agent says of itself.", "", *_listed(AGENT_METRICS)]
    return "\n".join(lines) + "\n"


def _listed(metrics: Iterable[Metric]) -> list[str]:
    rows = [f"| `{each.name}` | {each.unit} | {each.kind.value} | {_cell(each.help)} |" for each in metrics]
    return ["| metric | unit | kind | meaning |", "|---|---|---|---|", *rows]


def _commands() -> str:
    lines = [_HEAD, "", "# Commands", ""]
    known = summaries()
    lines += ["| command | what it does |", "|---|---|"]
    lines += [f"| [`jobmeter {name}`](#jobmeter-{name}) | {summary} |" for name, summary in known.items()]
    for name in known:
        chosen = command(name)
        parser = argparse.ArgumentParser(prog=f"jobmeter {name}", description=chosen.SUMMARY)
        chosen.declare(parser)
        add_log_level(parser)
        lines += _command(parser)
    return "\n".join(lines) + "\n"


def _command(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from ("", f"## {parser.prog}", "", _sentence(parser.description or ""), "")
    inner: dict[str, argparse.ArgumentParser] = {}
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            inner.update(action.choices)
        elif isinstance(action, Chosen):
            inner.update(action.parsers())
            rows.append(f"| `{action.metavar} ...` | {_cell(_help(action))} |")
        elif action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction):
            rows.append(f"| `{_words(action)}` | {_cell(_help(action))} |")
    if rows:
        yield from ("| argument | meaning |", "|---|---|", *rows)
    for each in inner.values():
        yield from _command(each)


def _words(action: argparse.Action) -> str:
    if not action.option_strings:
        name = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
        return {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} ..."}.get(str(action.nargs), name)
    if action.nargs == 0:
        return ", ".join(action.option_strings)
    default = action.dest.upper() if action.choices is None else "|".join(map(str, action.choices))
    value = action.metavar if isinstance(action.metavar, str) else default
    return f"{', '.join(action.option_strings)} {value}"


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%(default)s", str(action.default)).replace("%%", "%")


def _settings() -> str:
    lines = [_HEAD, "", "# Settings", "", _SAMPLE_AND_CHECK]
    for name in kinds.names():
        struct = kinds.settings(name)
        prefix = getattr(struct, "environment_prefix", None)
        lines += ["", f"## {name}", "", " ".join((struct.__doc__ or "").split())]
        if prefix is not None:
            lines += ["", f"Variables `{prefix.rstrip('_')}_…` of the environment override the file."]
        lines += ["", "| key | expects | default | meaning |", "|---|---|---|---|"]
        lines += [_row(option) for option in options(struct)]
    return "\n".join(lines) + "\n"


def _row(option: Option) -> str:
    default = f"`{_cell(option.default)}`" if option.default not in ("", "required") else option.default
    return f"| `{option.key}` | {_cell(option.expects)} | {default} | {_cell(option.description)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for file_name, page in pages().items():
        (folder / file_name).write_text(page, encoding="utf-8")
