"""Located nodes become a frozen settings Struct, by the types that the Struct declares.

What a field may ask for in `Meta(extra={...})`:

`secret`       its value stands in no message
`scalar_ok`    a single value will do where a list is declared, a single table where it is one of Structs
`any_case`     the case of a choice (Literal or Enum) does not matter
`untagged`     which of several Structs a table is that does not say it
`unit`         the unit of a number whose name cannot carry it; for samples and the reference

A Struct with the class attribute `unknown_keys = "note"` gets notes instead of faults for keys that it does not
declare. Its `__post_init__` may raise ValueError, or WrongValue with the key that is to blame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import inspect

from jobmeter.settings.declared import LISTS, describe, described, extras, unwrapped
from jobmeter.settings.fault import Fault, Place, WrongValue
from jobmeter.settings.node import Entry, Mapping, Node, Scalar, Sequence
from jobmeter.settings.scalar import NATURAL, READERS, Unfit

UNKNOWN_KEYS = "unknown_keys"


class _Unfit(Exception):  # noqa: N818
    """The value does not fit; its faults have been noted."""


class Binder:
    """Binds nodes to declared types and gathers all `faults` and `notes` on the way."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.notes: list[str] = []

    def bind(self, kind: type, node: Mapping) -> Any:
        """The settings, or None when there are faults."""
        try:
            return self._value(inspect.type_info(kind), node, "", {})
        except _Unfit:
            return None

    def _fail(self, place: Place, key: str, reason: str, mend: str | None = None) -> _Unfit:
        self.faults.append(Fault(str(place), key, reason, mend))
        return _Unfit()

    def _value(self, declared: inspect.Type, node: Node, key: str, extra: dict[str, Any]) -> Any:
        if isinstance(declared, inspect.Metadata):
            return self._value(declared.type, node, key, {**extra, **extras(declared)})
        if isinstance(declared, inspect.AnyType):
            return plain(node)
        if isinstance(declared, inspect.UnionType):
            return self._union(declared, node, key, extra)
        if isinstance(declared, inspect.StructType):
            return self._struct(declared, node, key, extra)
        if isinstance(declared, inspect.DictType):
            return self._dict(declared, node, key, extra)
        if (build := _BUILD.get(type(declared))) is not None:
            return build(self._list(declared, node, key, extra))
        return self._scalar(declared, node, key, extra)

    def _union(self, declared: inspect.UnionType, node: Node, key: str, extra: dict[str, Any]) -> Any:
        """The first member that takes the value as it stands, else the first that takes it with leniency."""
        members = [member for member in declared.types if not isinstance(member, inspect.NoneType)]
        absent = isinstance(node, Scalar) and (node.value is None or (node.listed and node.value == ""))
        if absent and len(members) < len(declared.types):
            return None
        extra = {**extra, **extras(declared)}
        if len(members) == 1:
            return self._value(members[0], node, key, extra)
        tagged = [member for member in members if isinstance(member, inspect.StructType)]
        if isinstance(node, Mapping) and tagged:
            return self._value(self._by_tag(tagged, node, key, extra.get("untagged")), node, key, extra)
        members.sort(key=lambda member: not _fits(member, node))
        kept, noted = len(self.faults), len(self.notes)
        for member in members:
            try:
                return self._value(member, node, key, extra)
            except _Unfit:
                del self.faults[kept:], self.notes[noted:]
        phrase = " or ".join(describe(member) for member in members)
        raise self._fail(node.place, key, f"{shown(node, extra)} is not {phrase}")

    def _by_tag(
        self, members: list[inspect.StructType], node: Mapping, key: str, untagged: str | None
    ) -> inspect.StructType:
        field = members[0].tag_field
        if field is None:
            return members[0]
        entry = node.find(field)
        named = entry.value.value if entry is not None and isinstance(entry.value, Scalar) else node.tag
        named = untagged if named is None else named
        for member in members:
            if member.tag == named:
                return member
        if entry is None and node.tag is not None:
            tags = ", ".join(f"!{member.tag}" for member in members)
            raise self._fail(node.place, key, f"the tag !{node.tag} is not known; there are: {tags}")
        choices = ", ".join(str(member.tag) for member in members)
        raise self._fail(node.place, f"{key}.{field}", f"must be one of {choices}")

    def _struct(self, declared: inspect.StructType, node: Node, key: str, extra: dict[str, Any]) -> Any:
        if not isinstance(node, Mapping):
            if not (isinstance(node, Scalar) and node.value is None):
                raise self._fail(node.place, key, f"{shown(node, extra)} is not a table of keys with values")
            node = Mapping((), node.place)
        if node.tag is not None and node.tag != declared.tag:
            raise self._fail(node.place, key, f"the type !{node.tag} is not known here")
        before = len(self.faults)
        values: dict[str, Any] = {}
        known = {field.encode_name: field for field in declared.fields}
        for entry in node.entries:
            field = known.get(entry.key)
            if field is None:
                if entry.key != declared.tag_field:
                    self._unknown(declared, entry, _join(key, entry.key), list(known))
                continue
            try:
                values[field.name] = self._value(field.type, entry.value, _join(key, entry.key), {})
            except _Unfit:
                continue
        for field in declared.fields:
            if field.required and node.find(field.encode_name) is None:
                expected = described(field.type)
                mend = None if expected is None else f"expected: {expected}"
                self._fail(node.place, _join(key, field.encode_name), "is missing", mend)
        if len(self.faults) > before:
            raise _Unfit
        return self._made(declared, values, node, key)

    def _made(self, declared: inspect.StructType, values: dict[str, Any], node: Mapping, key: str) -> Any:
        try:
            return declared.cls(**values)
        except WrongValue as fault:
            blamed = node.find(fault.key.partition(".")[0].partition("[")[0])
            place = node.place if blamed is None else blamed.place
            raise self._fail(place, _join(key, fault.key), fault.reason, fault.mend) from None
        except ValueError as fault:
            raise self._fail(node.place, key, str(fault)) from None

    def _unknown(self, declared: inspect.StructType, entry: Entry, key: str, known: list[str]) -> None:
        from difflib import get_close_matches  # noqa: PLC0415 - only when something is wrong

        near = get_close_matches(entry.key, known, n=1)
        mend = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}" if len(known) <= 12 else None
        if getattr(declared.cls, UNKNOWN_KEYS, "fault") == "note":
            self.notes.append(str(Fault(str(entry.place), key, "is not known and has no effect", mend)))
        else:
            self._fail(entry.place, key, "is not known", mend)

    def _dict(self, declared: inspect.DictType, node: Node, key: str, extra: dict[str, Any]) -> dict[Any, Any]:
        if not isinstance(node, Mapping):
            if not (isinstance(node, Scalar) and node.value is None):
                raise self._fail(node.place, key, f"{shown(node, extra)} is not a table of keys with values")
            node = Mapping((), node.place)
        before = len(self.faults)
        bound = {}
        for entry in node.entries:
            inner = _join(key, entry.key)
            try:
                name = self._value(declared.key_type, Scalar(entry.key, entry.place, entry.key), inner, {})
                bound[name] = self._value(declared.value_type, entry.value, inner, extra)
            except _Unfit:
                continue
        if len(self.faults) > before:
            raise _Unfit
        self._bounded(declared, len(bound), node.place, key, "entries")
        return bound

    def _list(self, declared: Any, node: Node, key: str, extra: dict[str, Any]) -> list[Any]:
        if isinstance(node, Scalar):
            node = self._listed(node, key, extra)
        if not isinstance(node, Sequence):
            if not (extra.get("scalar_ok") and isinstance(unwrapped(declared.item_type), inspect.StructType)):
                raise self._fail(node.place, key, "is a table, not a list")
            node = Sequence((node,), node.place)
        before = len(self.faults)
        bound = []
        for index, item in enumerate(node.items):
            try:
                bound.append(self._value(declared.item_type, item, f"{key}[{index}]", extra))
            except _Unfit:
                continue
        if len(self.faults) > before:
            raise _Unfit
        self._bounded(declared, len(bound), node.place, key, "elements")
        return bound

    def _listed(self, node: Scalar, key: str, extra: dict[str, Any]) -> Sequence:
        if node.value is None:
            return Sequence((), node.place)
        if node.listed:
            texts = [part.strip() for part in (node.text or "").split(",")]
            return Sequence(tuple(Scalar(text, node.place, text) for text in texts if text), node.place)
        if extra.get("scalar_ok"):
            return Sequence((node,), node.place)
        mend = None if extra.get("secret") else f"write [{node.text or node.value}]"
        raise self._fail(node.place, key, f"{shown(node, extra)} is not a list", mend)

    def _bounded(self, declared: Any, count: int, place: Place, key: str, noun: str) -> None:
        if declared.min_length is not None and count < declared.min_length:
            raise self._fail(place, key, f"has {count} {noun}, at least {declared.min_length} are needed")
        if declared.max_length is not None and count > declared.max_length:
            raise self._fail(place, key, f"has {count} {noun}, at most {declared.max_length} are allowed")

    def _scalar(self, declared: inspect.Type, node: Node, key: str, extra: dict[str, Any]) -> Any:
        read = READERS.get(type(declared))
        if read is None:
            raise TypeError(f"settings cannot hold {declared!r} (key {key})")
        if not isinstance(node, Scalar):
            raise self._fail(node.place, key, f"{shown(node, extra)} is not {describe(declared)}")
        try:
            return read(declared, node, extra)
        except Unfit as phrase:
            value = shown(node, extra)
            raise self._fail(node.place, key, phrase.reason.replace("{}", value, 1), phrase.mend) from None


_BUILD: dict[type, Callable[[list[Any]], Any]] = {
    inspect.ListType: list,
    inspect.VarTupleType: tuple,
    inspect.SetType: set,
    inspect.FrozenSetType: frozenset,
}


def _fits(declared: inspect.Type, node: Node) -> bool:
    """Whether the value is of the declared type as it stands, without leniency."""
    if isinstance(declared, inspect.Metadata):
        return _fits(declared.type, node)
    if isinstance(node, Sequence):
        return isinstance(declared, LISTS)
    if isinstance(node, Mapping):
        return isinstance(declared, inspect.StructType | inspect.DictType)
    return type(node.value) in NATURAL.get(type(declared), ())


def shown(node: Node, extra: dict[str, Any]) -> str:
    """The value for a message; a secret is not shown."""
    if extra.get("secret"):
        return "the value (a secret, not shown)"
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "a table"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, str):
        text = node.value if len(node.value) <= 60 else f"{node.value[:57]}..."
        return f'"{text}"'
    return node.text or str(node.value).lower()


def plain(node: Node) -> Any:
    """The node as plain lists, dicts and scalars."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {entry.key: plain(entry.value) for entry in node.entries}


def _join(key: str, inner: str) -> str:
    return f"{key}.{inner}" if key else inner
