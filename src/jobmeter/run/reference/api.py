"""The reference's page of the interface, from its OpenAPI description."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from jobmeter.run.reference.text import HEAD, cell, sentence, table
from jobmeter.serve.openapi import description

_ABOUT = (
    "The server's interface for programs. Each server gives it as OpenAPI 3.1 at `/openapi.json`, without the "
    "operations that it does not offer. Who may do what: [security](../security.md). "
    "In Python: [client library](../client.md)."
)


def page() -> str:
    """The page."""
    told = msgspec.json.decode(description())
    lines = [HEAD, "", "# Interface", "", _ABOUT, ""]
    operations = [(path, method, one) for path, methods in told["paths"].items() for method, one in methods.items()]
    rows = (
        [f"[`{method.upper()} {path}`](#{_anchor(method, path)})", cell(one["summary"])]
        for path, method, one in operations
    )
    lines += table("operation | what it does", rows)
    for path, method, one in operations:
        lines += _operation(path, method, one)
    lines += ["## Types", ""]
    for name, schema in told["components"]["schemas"].items():
        lines += _type(name, schema)
    return "\n".join(lines).rstrip() + "\n"


def _anchor(method: str, path: str) -> str:
    plain = "".join(letter for letter in path.lower() if letter.isalnum() or letter in "_-")
    return f"{method}-{plain}"


def _operation(path: str, method: str, one: dict[str, Any]) -> Iterator[str]:
    yield from (f"## {method.upper()} {path}", "", sentence(one["summary"]), "")
    rows = ([f"`{each['name']}`", _schema(each["schema"]), cell(each.get("description", ""))] for each in _given(one))
    yield from table("parameter | type | meaning", rows)
    body = one.get("requestBody", {}).get("content", {})
    if body:
        forms = ", ".join(f"{_schema(form.get('schema', {}))} as `{kind}`" for kind, form in body.items())
        yield from (f"Body: {forms}.", "")
    answers = ([status, _answer(reply), cell(reply["description"])] for status, reply in one["responses"].items())
    yield from table("status | answer | meaning", answers)


def _given(one: dict[str, Any]) -> list[dict[str, Any]]:
    return list(one.get("parameters", ()))


def _answer(reply: dict[str, Any]) -> str:
    forms = {kind: _schema(form.get("schema", {})) for kind, form in reply.get("content", {}).items()}
    return ", ".join(f"{words} as `{kind}`" for kind, words in forms.items())


def _type(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield from (f"### {name}", "")
    if about := schema.get("description"):
        yield from (cell(about), "")
    if "enum" in schema:
        yield from ("One of " + ", ".join(f"`{value}`" for value in schema["enum"]) + ".", "")
    needed = set(schema.get("required", ()))
    fields = schema.get("properties", {}).items()
    rows = (
        [f"`{key}`", _schema(inner), "yes" if key in needed else "", cell(inner.get("description", ""))]
        for key, inner in fields
    )
    yield from table("key | type | needed | meaning", rows)


def _schema(schema: dict[str, Any]) -> str:
    """The type in a few words, with links to types of ours."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower().replace('.', '')})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_schema(each) for each in schema["anyOf"]))
    if "enum" in schema:
        return " ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_schema(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"table of {_schema(schema['additionalProperties'])}"
    return cell(" or ".join(kind) if isinstance(kind, list) else str(schema.get("format", kind)))
