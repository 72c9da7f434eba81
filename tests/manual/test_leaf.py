"""A file of the documentation as a page."""

from __future__ import annotations

from jobmeter.manual.leaf import Leaf, leaf


def page(text: str, **addresses: str) -> Leaf:
    return leaf("docs/a.md", text, {"docs/b.md": "b", "docs/c/d.md": "c-d", **addresses}.get)


def test_headings_have_the_addresses_that_forges_give_them() -> None:
    found = page("# `jobmeter up`: all of it\n## Why?\n## Why?\n")
    assert [(each.level, each.anchor) for each in found.headings] == [
        (1, "jobmeter-up-all-of-it"),
        (2, "why"),
        (2, "why-1"),
    ]
    assert found.title == "jobmeter up: all of it"
    assert '<h2 id="why-1">' in found.html


def test_links_to_files_lead_to_their_pages_and_others_stay_as_they_are() -> None:
    found = page("[b](b.md#x) [d](c/d.md) [out](https://example.org/b.md) [here](#y)")
    assert 'href="b#x"' in found.html
    assert 'href="c-d"' in found.html
    assert 'href="https://example.org/b.md"' in found.html
    assert 'href="#y"' in found.html
    assert [(each.path, each.anchor) for each in found.links] == [
        ("docs/b.md", "x"),
        ("docs/c/d.md", ""),
        ("docs/a.md", "y"),
    ]


def test_a_link_to_nothing_is_no_link_and_has_its_line() -> None:
    found = page("# A\n\nsee\n[x](gone.md)\n")
    assert "href" not in found.html
    assert (found.links[0].line, found.links[0].written) == (3, "gone.md")


def test_markup_in_the_text_is_text_and_the_remark_of_generated_pages_is_left_out() -> None:
    found = page("<!-- Written by a program. -->\n\n# A\n\n<script>alert(1)</script>\n\n`<b>`\n")
    assert "<script" not in found.html
    assert "Written" not in found.html
    assert "&lt;script&gt;" in found.html


def test_no_style_is_written_into_a_table_and_an_empty_head_is_no_head() -> None:
    found = page("| | b |\n|---|---:|\n| 1 | 2 |\n")
    assert "style=" not in found.html
    assert '<th scope="col">b</th>' in found.html
    assert "<td></td>" in found.html
    assert 'tabindex="0"' in found.html


def test_what_is_no_markdown_is_shown_as_it_is() -> None:
    found = leaf("packaging/x.sh", "# <not a heading>\n", lambda _: None)
    assert "<pre" in found.html
    assert "# &lt;not a heading&gt;" in found.html
    assert found.title == "packaging/x.sh"
