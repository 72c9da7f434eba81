"""The documentation as a folder of files that any web server serves, or a browser opens as they lie there."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined

from jobmeter import __version__
from jobmeter.manual.book import contents, leaves, places
from jobmeter.manual.tree import named, paths


def write(root: Traversable, folder: Path) -> int:
    """Write all pages; how many. Style and picture are those of the server's pages. Raises OSError."""
    addresses = {path: f"{name}.html" for name, path in named(paths(root)).items()}
    parts = [(title, list(lines)) for title, lines in groupby(contents(root), key=attrgetter("section"))]
    paper = Environment(loader=PackageLoader("jobmeter.manual"), autoescape=True, undefined=StrictUndefined)
    template = paper.get_template("leaf.html")
    folder.mkdir(parents=True, exist_ok=True)
    for leaf in leaves(root, addresses):
        text = template.render(leaf=leaf, parts=parts, addresses=addresses, version=__version__)
        (folder / addresses[leaf.path]).write_text(text, encoding="utf-8")
    words = [
        {"at": f"{addresses[one.path]}#{one.anchor}", "title": one.title, "heading": one.heading, "text": one.text}
        for one in places(root)
    ]
    (folder / "words.js").write_text(f"const JOBMETER_WORDS = {msgspec.json.encode(words).decode()};\n", "utf-8")
    for package, name in (("manual", "search.js"), ("serve.web", "jobmeter.css"), ("serve.web", "icon.svg")):
        (folder / name).write_bytes(files(f"jobmeter.{package}").joinpath("assets", name).read_bytes())
    return len(addresses)
