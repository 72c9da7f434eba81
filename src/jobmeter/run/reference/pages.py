"""The reference pages, from what commands, settings and operations declare.

The pages are kept in the repository; a test compares them with what this module would write.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from jobmeter import registry
from jobmeter.model.metric import Metric
from jobmeter.observe.selfmeasure import METRICS as AGENT_METRICS
from jobmeter.run.collector.sources import Chosen
from jobmeter.run.commands import command, summaries
from jobmeter.run.commands.size import CONSTANTS
from jobmeter.run.main import add_log_level
from jobmeter.run.reference import api, settings
from jobmeter.run.reference.text import HEAD, cell, sentence, table

_METRICS_ARE = (
    "What `jobmeter node` measures. A counter only grows; a gauge is a level at an instant. A metric that a machine or "
    "a job does not have is left out. `wire/colmet_columns.py` says which of "
    "them fills which column of Colmet's records."
)


def pages() -> dict[str, str]:
    """The pages by file name."""
    return {
        "api.md": api.page(),
        "commands.md": _commands(),
        "decisions.md": _decisions(),
        "figures.md": _figures(),
        "metrics.md": _metrics(),
        **settings.pages(),
    }


def _figures() -> str:
    """What `jobmeter size` computes with."""
    lines = [HEAD, "", "# Figures of size", "", "What `jobmeter size` computes with, and what measured it.", ""]
    rows = ([f"`{name}`", f"{one.value:,g}", one.unit, cell(one.source)] for name, one in CONSTANTS.items())
    return "\n".join([*lines, *table("figure | value | unit | from", rows)])


def _decisions() -> str:
    """What was decided, by the first line of each file."""
    lines = [HEAD, "", "# Decisions", "", "What could have been otherwise, and why it is as it is.", ""]
    for file in sorted(Path("docs/decisions").glob("*.md")):
        title = file.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        lines.append(f"- [{title}](../decisions/{file.name})")
    return "\n".join(lines) + "\n"


def _metrics() -> str:
    """What the sources of samples measure, as their modules declare it."""
    lines = [HEAD, "", "# Metrics", "", _METRICS_ARE]
    for name in registry.names("observe.kernel"):
        module = registry.module("observe.kernel", name)
        about = " ".join((module.__doc__ or "").split())
        lines += ["", f"## {name}", "", about, ""]
        lines += _listed(getattr(module, "METRICS", ()))
    lines += ["", "## agent", "", "What the agent says of itself.", "", *_listed(AGENT_METRICS)]
    return "\n".join(lines) + "\n"


def _listed(metrics: Iterable[Metric]) -> list[str]:
    rows = [f"| `{each.name}` | {each.unit} | {each.kind.value} | {cell(each.help)} |" for each in metrics]
    return ["| metric | unit | kind | meaning |", "|---|---|---|---|", *rows]


def _commands() -> str:
    lines = [HEAD, "", "# Commands", ""]
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
    yield from ("", f"## {parser.prog}", "")
    if parser.description:
        yield from (sentence(parser.description), "")
    inner: dict[str, argparse.ArgumentParser] = {}
    rows = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            inner.update(action.choices)
        elif isinstance(action, Chosen):
            inner.update(action.parsers())
            rows.append(f"| `{action.metavar} ...` | {cell(_help(action))} |")
        elif action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction):
            rows.append(f"| `{_words(action)}` | {cell(_help(action))} |")
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


def write(folder: Path) -> None:
    """Make the pages in a folder, and take away those that are no more."""
    made = pages()
    for name, text in made.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    for file in folder.rglob("*.md"):
        if file.relative_to(folder).as_posix() not in made:
            file.unlink()
