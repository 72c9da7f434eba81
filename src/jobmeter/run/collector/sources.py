"""The words after `jobmeter collect SOURCE`: those of every source, and those that a source has of its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobmeter import registry
from jobmeter.run.main import add_log_level

_KIND = "observe.batch"


class Chosen(argparse.Action):
    """The source and all words after it: only the source that was named is imported, for the options of its own."""

    def __init__(self, *, shared: Callable[[argparse.ArgumentParser], None], **given: Any) -> None:
        super().__init__(**given, nargs=argparse.PARSER)
        self._shared = shared

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002 - the signature of actions
    ) -> None:
        """Read the words after the source by the source's own parser."""
        namespace.source, *words = values
        try:
            inner = self.parser_of(namespace.source)
        except registry.UnknownPlugin as fault:
            parser.error(str(fault))
        inner.parse_args(words, namespace)
        if not hasattr(namespace, "config"):
            inner.error("which settings? Name their file after the source")
        namespace.config = Path(namespace.config)

    def parsers(self) -> dict[str, argparse.ArgumentParser]:
        """The parsers of all sources, by name."""
        return {name: self.parser_of(name) for name in registry.names(_KIND)}

    def parser_of(self, name: str) -> argparse.ArgumentParser:
        """The parser of what follows the source. Raises UnknownPlugin."""
        plugin = registry.module(_KIND, name)
        about = (plugin.__doc__ or "").strip().partition("\n")[0]
        inner = argparse.ArgumentParser(prog=f"jobmeter collect {name}", description=about)
        inner.add_argument(
            "config",
            nargs="?",  # a type would make a value of the default, which stands for none
            default=argparse.SUPPRESS,
            help="its settings: YAML of AUDITOR's collector, or TOML",
        )
        inner.add_argument(
            "-c", "--config", dest="config", metavar="CONFIG", default=argparse.SUPPRESS, help="the same"
        )
        self._shared(inner)
        if (own := getattr(plugin, "declare", None)) is not None:
            own(inner)
        add_log_level(inner)
        return inner
