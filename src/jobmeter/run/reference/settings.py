"""The reference's pages of settings: one per collector, source, section, sink, report and command with a file."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from jobmeter import registry
from jobmeter.run import kinds
from jobmeter.run.commands import report
from jobmeter.run.reference.text import HEAD, cell, sentence, table
from jobmeter.settings.options import Option, options

_DOCS = Path("docs")
_ABOUT = (
    "A page per collector, source, section, sink, report and command that has settings. `jobmeter sample-config NAME` "
    "prints a commented file, `jobmeter check FILE` says what is wrong with one, with its line."
)


class _Group(Struct, frozen=True):
    """Pages of one kind: what they are called together and alone, how one is chosen, and the guide to read first."""

    title: str
    one: str
    chosen: str
    guide: str


_GROUPS = {
    "observe.batch": _Group("Collectors", "Collector", "`jobmeter collect {name} FILE`", "collectors/{name}.md"),
    "observe.kernel": _Group("Sources of samples", "Source", "its table in the file of `jobmeter node`", "node.md"),
    "observe.facility": _Group(
        "Sections of documents", "Section", "`sections` in the file of `jobmeter facility`", "facility.md"
    ),
    "sinks": _Group("Sinks", "Sink", "the commands that send, with their own settings", "architecture.md"),
    "sinks.samples": _Group("Outputs of samples", "Output", "an output in the file of `jobmeter gather`", "gather.md"),
}
_REPORTS = _Group("Reports", "Report", "`jobmeter report {name}`", "reports/{name}.md")
_COMMANDS = _Group("Commands with a file", "Command", "`jobmeter {name} FILE`", "{guide}")
_COMMAND_GUIDES = {"serve": "operation.md", "node": "node.md", "gather": "gather.md", "facility": "facility.md"}


class _Subject(Struct, frozen=True):
    """What a page is about."""

    group: _Group
    name: str
    called: str
    """The name by which its settings are asked for."""
    about: str


def pages() -> dict[str, str]:
    """The pages by file name: the list, and one for each."""
    subjects = list(_subjects())
    written = {f"settings/{each.called}.md": "\n".join(_page(each)) for each in subjects}
    return {"settings.md": "\n".join(_list(subjects)), **written}


def _subjects() -> Iterator[_Subject]:
    for kind, group in _GROUPS.items():
        for name in registry.names(kind):
            yield _Subject(group, name, kinds.name_of(kind, name), registry.module(kind, name).__doc__ or "")
    for name, module in report.kinds().items():
        about = sys.modules[getattr(module, "__name__", "")].__doc__ or ""
        yield _Subject(_REPORTS, name, f"report-{name}", about)
    for name in _COMMAND_GUIDES:
        yield _Subject(_COMMANDS, name, name, kinds.settings(name).__doc__ or "")


def _list(subjects: list[_Subject]) -> Iterator[str]:
    yield from (HEAD, "", "# Settings", "", _ABOUT)
    for group in dict.fromkeys(each.group for each in subjects):
        yield from ("", f"## {group.title}", "")
        inside = [each for each in subjects if each.group == group]
        rows = ([f"[{each.called}](settings/{each.called}.md)", cell(_first(each.about))] for each in inside)
        yield from list(table("name | what it is", rows))[:-1]
    yield ""


def _page(subject: _Subject) -> Iterator[str]:
    group = subject.group
    yield from (HEAD, "", f"# {group.one} {subject.name}", "", subject.about.strip(), "")
    guide = group.guide.format(name=subject.name, guide=_COMMAND_GUIDES.get(subject.name, ""))
    yield f"- Chosen by {group.chosen.format(name=subject.name)}."
    if (_DOCS / guide).exists():
        yield f"- Read first: [{guide.removesuffix('.md')}](../../{guide})."
    if group is _REPORTS:
        yield f"- Options: [commands](../commands.md#jobmeter-report-{subject.name})."
    if group is _GROUPS["observe.kernel"]:
        yield f"- What it measures: [metrics](../metrics.md#{subject.name})."
    yield ""
    if subject.called in kinds.names():
        yield from _settings(subject.called)


def _settings(called: str) -> Iterator[str]:
    struct = kinds.settings(called)
    yield from ("## Settings", "", sentence(" ".join((struct.__doc__ or "").split())), "")
    yield f"`jobmeter sample-config {called}` prints them as a commented file."
    prefix = getattr(struct, "environment_prefix", None)
    if prefix is not None:
        yield f"Variables `{prefix.rstrip('_')}_…` of the environment override the file."
    yield ""
    yield from table("key | expects | default | meaning", map(_row, options(struct)))


def _row(option: Option) -> list[str]:
    default = f"`{cell(option.default)}`" if option.default not in ("", "required") else option.default
    return [f"`{option.key}`", cell(option.expects), default, cell(option.description)]


def _first(about: str) -> str:
    """The first sentence of a docstring, without the page's own command in front."""
    text = " ".join(about.split())
    end = text.find(". ")
    return sentence(text if end < 0 else text[: end + 1])
