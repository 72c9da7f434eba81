"""All pages together: faults, contents, search, the site."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobmeter.manual.book import contents, faults, search
from jobmeter.manual.site import write
from jobmeter.manual.tree import named, paths, text, tree


@pytest.fixture
def small(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "README.md").write_text("# All\n\n## First\n\n- [A page](a.md)\n")
    (docs / "a.md").write_text("# A\n\n## Spool\n\nIt keeps what waits.\n")
    return tmp_path


def test_a_link_to_no_file_and_one_to_no_heading_are_faults_with_their_place(small: Path) -> None:
    (small / "docs/a.md").write_text("# A\n\n[x](b.md)\n[y](README.md#second)\n")
    assert faults(small) == [
        "docs/a.md:3: b.md: there is no such file",
        "docs/a.md:3: README.md#second: docs/README.md has no such heading",
    ]


def test_a_page_that_nobody_reaches_and_one_without_a_title_are_faults(small: Path) -> None:
    (small / "docs/lost.md").write_text("no heading\n")
    assert faults(small) == [
        "docs/lost.md: docs/README.md does not list this page",
        "docs/lost.md: needs one heading of the first level",
    ]


def test_two_files_that_would_be_one_page_are_a_fault() -> None:
    with pytest.raises(ValueError, match="would be one page, 'a-b'"):
        named(["docs/a-b.md", "docs/a/b.md"])


def test_contents_have_titles_and_headings_in_order() -> None:
    listed = contents(tree())
    assert (listed[0].title, listed[0].path, listed[0].section) == ("Quick start", "docs/quick-start.md", "Begin")
    assert len({each.path for each in listed}) == len(listed)


def test_words_are_found_under_their_heading_with_some_text(small: Path) -> None:
    found = search(small, "WAITS spool")
    assert [(each.name, each.title, each.heading, each.anchor) for each in found] == [("a", "A", "Spool", "spool")]
    assert found[0].words == "It keeps what waits."
    assert search(small, "waits gatherer") == []
    assert search(small, "  ") == []


def test_what_a_heading_says_comes_first() -> None:
    assert search(tree(), "dead letters")[0].heading or search(tree(), "reconciliation")[0].title == "Reconciliation"
    assert search(tree(), "several processes")[0].heading == "Several processes"


def test_a_lone_hash_in_code_is_no_heading(small: Path) -> None:
    (small / "docs/a.md").write_text("# A\n\n```\n# no heading\n```\n")
    assert search(small, "no heading")[0].heading == ""


def test_the_site_is_whole_and_asks_nobody_else(tmp_path: Path) -> None:
    count = write(tree(), tmp_path)
    pages = {file.name: file.read_text() for file in tmp_path.glob("*.html")}
    assert len(pages) == count == len(paths(tree()))
    for name, html in pages.items():
        for target in re.findall(r'(?:src|href)="([^"#]+)', html):
            assert target.startswith(("https://", "http://")) or (tmp_path / target).is_file(), f"{name}: {target}"
        assert not re.findall(r'(?:src|<link[^>]*href)="https?:', html), name
        assert "style=" not in html, name


def test_every_file_of_the_documentation_can_be_read() -> None:
    assert all(text(tree(), path) for path in paths(tree()))
