"""A recorded machine: files in one text, each under a line `## PATH`, laid out below a folder."""

from __future__ import annotations

from pathlib import Path

from jobmeter.observe.host import Host, SystemClock


def laid_out(text: str, root: Path) -> Host:
    """The host whose files the text has. A path that ends with `/` is a folder; ` -> ` makes a link."""
    for piece in ("\n" + text).split("\n## ")[1:]:
        path, _, content = piece.partition("\n")
        name, arrow, target = path.partition(" -> ")
        place = root / name.lstrip("/")
        if name.endswith("/"):
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if arrow:
            place.symlink_to(target if not target.startswith("/") else root / target.lstrip("/"))
        elif name.endswith("/environ"):
            place.write_bytes(content.strip("\n").replace("\n", "\0").encode())
        else:
            place.write_text(content if content.endswith("\n") or not content else content + "\n")
    return Host(root, SystemClock(), {}, "n1")


def host_of(case: Path, root: Path) -> Host:
    """The host of a case: all its `*.tree` files."""
    return laid_out("\n".join(file.read_text() for file in sorted(case.glob("*.tree"))), root)
