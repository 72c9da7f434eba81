"""What is written about the program is what the program is."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from jobmeter.manual.book import faults
from jobmeter.manual.tree import tree
from jobmeter.run.commands import summaries
from jobmeter.run.reference import pages as reference
from tests.guard.source import ROOT

DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)[^)]*\)")
_TARGET = re.compile(r"\bmake ([a-z][a-z-]*)")


@cache
def pages() -> dict[str, str]:
    """The reference as the code declares it now, made once."""
    return reference.pages()


def outdated(folder: Path) -> list[str]:
    """Reference pages that are not what the code declares now, or are no more."""
    found = [
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*.md")
        if file.relative_to(folder).as_posix() not in pages()
    ]
    for name, text in pages().items():
        file = folder / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            found.append(name)
    return found


def broken_links(document: Path) -> list[str]:
    """Links of a page to files that are not there."""
    text = document.read_text(encoding="utf-8")
    return [target for target in _LINK.findall(text) if not (document.parent / target).exists()]


def test_the_reference_says_what_the_code_declares() -> None:
    assert outdated(ROOT / "docs" / "reference") == [], "run `make docs`"


def test_an_outdated_or_missing_page_is_told(tmp_path: Path) -> None:
    reference.write(tmp_path)
    assert outdated(tmp_path) == []
    (tmp_path / "commands.md").write_text("old", encoding="utf-8")
    (tmp_path / "settings.md").unlink()
    (tmp_path / "gone.md").write_text("of a plugin that is no more", encoding="utf-8")
    assert outdated(tmp_path) == ["gone.md", "commands.md", "settings.md"]
    reference.write(tmp_path)
    assert outdated(tmp_path) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    assert broken_links(document) == []


def test_every_page_is_listed_and_every_address_within_it_is_there() -> None:
    assert faults(tree()) == [], "docs/README.md lists the pages"


def test_a_broken_link_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("[x](b.md) [y](https://example.org) [z](a.md#top) [w](#here)")
    assert broken_links(tmp_path / "a.md") == ["b.md"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_make_targets_that_are_written_about_exist(document: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in _TARGET.findall("\n".join(re.findall(r"`[^`]+`", document.read_text(encoding="utf-8")))):
        assert f"\n{target}:" in makefile, f"make {target}"


def test_the_first_screen_of_the_readme_shows_the_two_commands() -> None:
    top = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:30]
    assert "make run" in "\n".join(top)
    assert "make test" in "\n".join(top)


def test_every_decision_is_numbered_once() -> None:
    numbers = [path.name[:4] for path in sorted((ROOT / "docs" / "decisions").glob("*.md"))]
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]


@pytest.mark.parametrize("name", sorted(summaries()))
def test_every_command_stands_in_the_reference(name: str) -> None:
    assert f"\n## jobmeter {name}\n" in pages()["commands.md"]
