"""What a settings Struct declares, as a flat list: for the reference, and as words for a sample."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import NODEFAULT, Struct, inspect

from jobmeter.settings.declared import LISTS, describe, described, extras, optional, unwrapped

REQUIRED = "required"


class Option(Struct, frozen=True):
    """One setting: dotted `key` (`[]` for each element of a list, `*` for any key), `expects` in words.

    `default` is JSON text, "required", or "" where leaving it out is a state of its own.
    """

    key: str
    expects: str
    default: str
    description: str
    secret: bool


def options(kind: type) -> tuple[Option, ...]:
    """All settings of a Struct and of those within it, in the order of declaration."""
    declared = inspect.type_info(kind)
    assert isinstance(declared, inspect.StructType)  # noqa: S101 - for the type checker
    return tuple(_within(declared, ""))


def expects(declared: inspect.Type) -> str:
    """The type in words with its bounds and unit, for a person who fills it in."""
    core = unwrapped(declared)
    words = describe(core).removeprefix("a ")
    if isinstance(core, inspect.IntType | inspect.FloatType):
        words += _range(core)
    if isinstance(core, inspect.ListType | inspect.VarTupleType) and extras(declared).get("scalar_ok"):
        words += ", or one alone"
    unit = extras(declared).get("unit")
    return f"{words}, in {unit}" if unit else words


def builtins(value: Any) -> Any:
    """A value of settings as plain lists, dicts, texts and numbers, as a file would hold them."""
    return msgspec.to_builtins(value, enc_hook=_text, str_keys=True)


def default(field: inspect.Field) -> Any:
    """The field's default, or NODEFAULT where it is required."""
    return field.default_factory() if field.default_factory is not NODEFAULT else field.default


def element(declared: inspect.Type) -> inspect.StructType | None:
    """The Struct that the elements of a list or the values of a table are, if they are."""
    core = unwrapped(declared)
    inner = (
        core.item_type if isinstance(core, LISTS) else core.value_type if isinstance(core, inspect.DictType) else None
    )
    inner = None if inner is None else unwrapped(inner)
    return inner if isinstance(inner, inspect.StructType) else None


def _within(declared: inspect.StructType, path: str) -> Iterator[Option]:
    for field in declared.fields:
        key = f"{path}.{field.encode_name}" if path else field.encode_name
        core = unwrapped(field.type)
        value = default(field)
        written = (
            REQUIRED if value is NODEFAULT else "" if value is None else msgspec.json.encode(builtins(value)).decode()
        )
        if isinstance(core, inspect.StructType):
            written = written if written == REQUIRED else ""
        yield Option(
            key,
            expects(field.type),
            written,
            described(field.type) or "",
            bool(extras(field.type).get("secret")),
        )
        inner = element(field.type)
        if isinstance(core, inspect.StructType):
            yield from _within(core, key)
        elif inner is not None:
            yield from _within(inner, f"{key}[]" if isinstance(core, LISTS) else f"{key}.*")


def _range(declared: Any) -> str:
    low, high = declared.ge, declared.le
    if low is not None and high is not None:
        return f" from {low} to {high}"
    parts = []
    for word, bound in (("at least", low), ("more than", declared.gt), ("at most", high), ("less than", declared.lt)):
        if bound is not None:
            parts.append(f", {word} {bound}")
    return "".join(parts)


def _text(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"settings cannot hold {type(value).__name__}")


__all__ = ["REQUIRED", "Option", "builtins", "default", "element", "expects", "optional", "options"]
