"""What a settings Struct declares about a field, beyond its type: words for people, wishes for the binder."""

from __future__ import annotations

from typing import Any

from msgspec import inspect

LISTS = (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType)

_PHRASES: dict[type, str] = {
    inspect.StrType: "text",
    inspect.IntType: "a whole number",
    inspect.FloatType: "a number",
    inspect.BoolType: "true or false",
    inspect.DateTimeType: "a date and time with a zone",
    inspect.CustomType: "a path",
    inspect.StructType: "a table",
    inspect.DictType: "a table",
    inspect.AnyType: "anything",
}


def describe(declared: inspect.Type) -> str:
    """The declared type in words, to be read after "is not" or "expects"."""
    if isinstance(declared, inspect.Metadata):
        return describe(declared.type)
    if isinstance(declared, inspect.UnionType):
        return " or ".join(describe(item) for item in declared.types if not isinstance(item, inspect.NoneType))
    if isinstance(declared, inspect.LiteralType):
        return f"one of {', '.join(map(str, declared.values))}"
    if isinstance(declared, inspect.EnumType):
        return f"one of {', '.join(str(member.value) for member in declared.cls)}"
    if isinstance(declared, LISTS):
        return f"a list ({describe(declared.item_type)} each)"
    return _PHRASES[type(declared)]


def described(declared: inspect.Type) -> str | None:
    """The description that the declaration carries, or None."""
    if isinstance(declared, inspect.UnionType):
        return next((text for item in declared.types if (text := described(item)) is not None), None)
    if not isinstance(declared, inspect.Metadata):
        return None
    text = (declared.extra_json_schema or {}).get("description")
    return text if isinstance(text, str) else described(declared.type)


def extras(declared: inspect.Type) -> dict[str, Any]:
    """What the declaration says beside the type (`Meta(extra=..., extra_json_schema=...)`), all layers together."""
    if isinstance(declared, inspect.UnionType):
        return {key: value for item in declared.types for key, value in extras(item).items()}
    if isinstance(declared, inspect.Metadata):
        return {**extras(declared.type), **(declared.extra_json_schema or {}), **(declared.extra or {})}
    return {}


def unwrapped(declared: inspect.Type) -> inspect.Type:
    """The type itself, without annotations and without the None of an optional."""
    if isinstance(declared, inspect.Metadata):
        return unwrapped(declared.type)
    if isinstance(declared, inspect.UnionType):
        members = [item for item in declared.types if not isinstance(item, inspect.NoneType)]
        if len(members) == 1:
            return unwrapped(members[0])
    return declared


def optional(declared: inspect.Type) -> bool:
    """Whether None is among what the field may be."""
    if isinstance(declared, inspect.Metadata):
        return optional(declared.type)
    return isinstance(declared, inspect.UnionType) and any(isinstance(t, inspect.NoneType) for t in declared.types)
