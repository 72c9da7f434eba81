"""A settings Struct as a commented sample file: every key with description, type and default.

Keys that have a default are commented out, so a fresh sample loads as the defaults; required keys stand with a value
to be replaced.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator
from typing import Any, Literal

from msgspec import NODEFAULT, inspect

from jobmeter.settings.declared import LISTS, described, extras, unwrapped
from jobmeter.settings.options import builtins, default, element, expects

Language = Literal["toml", "yaml"]

_WIDTH = 100
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def sample(kind: type, language: Language = "toml", *, defaults: bool = False) -> str:
    """The sample file of a settings Struct. With `defaults` keys that have one are written out instead of commented."""
    declared = inspect.type_info(kind)
    assert isinstance(declared, inspect.StructType)  # noqa: S101 - for the type checker
    writer = (_Toml if language == "toml" else _Yaml)(defaults)
    text = (
        "\n".join(_comment(kind.__doc__ or "Settings.", ""))
        + "\n"
        + "\n".join(writer.struct(declared, (), active=True))
    )
    return re.sub(r"\n{3,}", "\n\n", text).rstrip() + "\n"


class _Writer:
    """What both languages share: which keys are active, and what is said about each."""

    def __init__(self, defaults: bool) -> None:
        self._defaults = defaults

    def struct(self, declared: inspect.StructType, path: tuple[str, ...], *, active: bool) -> Iterator[str]:
        """The lines of a table; an inactive one is commented out as a whole."""
        raise NotImplementedError

    def _is_active(self, field: inspect.Field) -> bool:
        value = default(field)
        return value is NODEFAULT or (self._defaults and value is not None)

    def _is_table_active(self, field: inspect.Field, declared: inspect.StructType) -> bool:
        """Whether naming the table changes nothing: then its name can stand and only its keys are commented out."""
        value = default(field)
        if value is NODEFAULT:
            return True
        return value is not None and not any(each.required for each in declared.fields) and declared.cls() == value

    def _about(self, field: inspect.Field, indent: str) -> Iterator[str]:
        words = expects(field.type)
        note = f"{words}; required" if field.required else words
        if field.required or default(field) is not None:
            yield from _comment(f"{described(field.type) or ''} ({note})", indent)
        else:
            yield from _comment(f"{described(field.type) or ''} ({note}; not set unless you set it)", indent)
        inner = element(field.type)
        if inner is not None:
            yield f"{indent}#   Each of them:"
            for each in inner.fields:
                state = ", required" if each.required else ""
                text = f"{each.encode_name}: {described(each.type) or ''} ({expects(each.type)}{state})"
                yield from _comment(text, indent, hang="    ")

    def _shown(self, field: inspect.Field) -> str:
        value = default(field)
        return self._value(_placeholder(field.type) if value is NODEFAULT or value is None else builtins(value))

    def _value(self, value: Any) -> str:
        raise NotImplementedError

    def _inner(self, value: Any, between: str) -> str:
        if isinstance(value, dict):
            pairs = (f"{_key(name)}{between}{self._value(item)}" for name, item in value.items() if item is not None)
            return f"{{{', '.join(pairs)}}}"
        if isinstance(value, list | tuple | set | frozenset):
            return f"[{', '.join(self._value(item) for item in value)}]"
        if isinstance(value, bool):
            return "true" if value else "false"
        return _quoted(value) if isinstance(value, str) else repr(value)


class _Toml(_Writer):
    def struct(self, declared: inspect.StructType, path: tuple[str, ...], *, active: bool) -> Iterator[str]:
        tables = []
        for field in declared.fields:
            inner = unwrapped(field.type)
            if isinstance(inner, inspect.StructType):
                tables.append((field, inner))
                continue
            yield ""
            yield from self._about(field, "")
            mark = "" if active and self._is_active(field) else "# "
            yield f"{mark}{_key(field.encode_name)} = {self._shown(field)}"
        for field, inner in tables:
            there = active and self._is_table_active(field, inner)
            name = (*path, field.encode_name)
            yield ""
            yield from _comment(described(field.type) or "", "")
            yield f"{'' if there else '# '}[{'.'.join(map(_key, name))}]"
            yield from self.struct(inner, name, active=there)

    def _value(self, value: Any) -> str:
        return self._inner(value, " = ")


class _Yaml(_Writer):
    def struct(self, declared: inspect.StructType, path: tuple[str, ...], *, active: bool) -> Iterator[str]:
        indent = "  " * len(path)
        for field in declared.fields:
            yield ""
            inner = unwrapped(field.type)
            if isinstance(inner, inspect.StructType):
                there = active and self._is_table_active(field, inner)
                yield from _comment(described(field.type) or "", indent)
                yield f"{indent}{'' if there else '# '}{_key(field.encode_name)}:"
                yield from self.struct(inner, (*path, field.encode_name), active=there)
                continue
            yield from self._about(field, indent)
            mark = "" if active and self._is_active(field) else "# "
            yield f"{indent}{mark}{_key(field.encode_name)}: {self._shown(field)}"

    def _value(self, value: Any) -> str:
        return self._inner(value, ": ")


def _comment(text: str, indent: str, hang: str = "") -> list[str]:
    lead = f"{indent}# {hang}"
    lines = textwrap.wrap(" ".join(text.split()), _WIDTH - len(lead), break_on_hyphens=False)
    return [f"{lead}{'  ' if hang and number else ''}{line}" for number, line in enumerate(lines)]


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    """In double quotes, with the escapes that TOML and YAML have in common."""
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _placeholder(declared: inspect.Type) -> Any:
    """A value of the declared type to be replaced: the declaration's first example, else the plainest one."""
    examples = extras(declared).get("examples")
    if examples:
        return builtins(examples[0])
    core = unwrapped(declared)
    if isinstance(core, inspect.UnionType):
        core = unwrapped(next(item for item in core.types if not isinstance(item, inspect.NoneType)))
    if isinstance(core, inspect.IntType | inspect.FloatType):
        return _least(core)
    if isinstance(core, inspect.BoolType):
        return False
    if isinstance(core, inspect.LiteralType):
        return core.values[0]
    if isinstance(core, inspect.EnumType):
        return next(iter(core.cls)).value
    if isinstance(core, inspect.DateTimeType):
        return "2024-01-31T12:00:00Z"
    if isinstance(core, LISTS):
        return [_placeholder(core.item_type)] * (core.min_length or 0)
    if isinstance(core, inspect.DictType):
        return {}
    if isinstance(core, inspect.StructType):
        return {field.encode_name: _placeholder(field.type) for field in core.fields if field.required}
    return "..."


def _least(declared: inspect.IntType | inspect.FloatType) -> float:
    if declared.ge is not None:
        return math.ceil(declared.ge)
    return 0 if declared.gt is None else math.floor(declared.gt) + 1
