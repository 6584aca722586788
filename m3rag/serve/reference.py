"""The reference of the routes as a web page, from the OpenAPI description.

It has no scripts and loads nothing. FastAPI's own page would load its scripts from another server,
with the rights of this one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9rem; }
pre { overflow-x: auto; padding: .5rem; border: 1px solid #8886; border-radius: .3rem; }
summary { cursor: pointer; padding: .3rem 0; }
table { border-collapse: collapse; }
td, th { text-align: start; vertical-align: top; padding: .2rem .8rem .2rem 0; }
section { border-top: 1px solid #8886; }
"""
_HASH = base64.b64encode(sha256(_STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; frame-ancestors 'none'"
"""The content security policy of the page."""

Schema = Mapping[str, Any]


def page(described: Schema) -> str:
    """Return the page for an OpenAPI description."""
    groups: dict[str, list[str]] = {}
    for path, methods in described["paths"].items():
        for method, route in methods.items():
            tag = route.get("tags", ["other"])[0]
            groups.setdefault(tag, []).append(_route(described, path, method, route))
    sections = "".join(
        f"<section><h2>{escape(tag)}</h2>{''.join(routes)}</section>"
        for tag, routes in groups.items()
    )
    title = f"{described['info']['title']} {described['info']['version']}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}: routes</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1><p>{escape(described['info'].get('description', ''))}</p>"
        '<p>The same as <a href="openapi.json">OpenAPI</a>.</p>'
        f"{sections}</body></html>"
    )


def _route(described: Schema, path: str, method: str, route: Schema) -> str:
    """Return a route, which opens at a click."""
    text = route.get("description") or route.get("summary", "")
    first, _, rest = text.partition("\n\n")
    parts = [f"<p>{escape(rest)}</p>" if rest else ""]
    parameters = route.get("parameters", ())
    if parameters:
        rows = [
            _row(described, p["name"], p["schema"], p.get("required", False)) for p in parameters
        ]
        parts.append(_table(f"In the {parameters[0]['in']}", rows))
    for kind, content in route.get("requestBody", {}).get("content", {}).items():
        parts.append(_body(described, f"Body, {kind}", content["schema"]))
    for content in route["responses"].get("200", {}).get("content", {}).values():
        parts.append(_body(described, "Response", content.get("schema", {})))
    name = f"<code><b>{method.upper()}</b> {escape(path)}</code>"
    return f"<details><summary>{name} {escape(first)}</summary>{''.join(parts)}</details>"


def _body(described: Schema, title: str, schema: Schema) -> str:
    """Return the fields of a body, and an example of it."""
    found = _resolved(described, schema)
    if found.get("type") == "array":
        found = _resolved(described, found["items"])
        title = f"{title}: a list"
    fields = found.get("properties", {})
    needed = found.get("required", ())
    rows = [_row(described, name, field, name in needed) for name, field in fields.items()]
    text = "" if rows else f"<p>{escape(title)}: {escape(_type(described, found))}</p>"
    examples = "".join(
        f"<pre>{escape(json.dumps(example, ensure_ascii=False, indent=2))}</pre>"
        for example in found.get("examples", ())
    )
    return text + (_table(title, rows) if rows else "") + examples


def _table(title: str, rows: list[str]) -> str:
    return f"<h4>{escape(title)}</h4><table>{''.join(rows)}</table>"


def _row(described: Schema, name: str, field: Schema, needed: bool) -> str:
    """Return the row of a field: its name, its type, and what it means."""
    notes = ["required"] if needed else []
    if field.get("default") is not None:
        notes.append(f"{json.dumps(field['default'])} by default")
    text = field.get("description", "")
    return (
        f"<tr><td><code>{escape(name)}</code></td>"
        f"<td>{escape(_type(described, field))}{escape(''.join(f', {n}' for n in notes))}</td>"
        f"<td>{escape(text)}</td></tr>"
    )


def _type(described: Schema, field: Schema) -> str:
    """Return the type of a field in words."""
    return " or ".join(dict.fromkeys(_types(described, field))) or "any value"


def _types(described: Schema, field: Schema) -> Iterator[str]:
    if "anyOf" in field:
        for one in field["anyOf"]:
            if one.get("type") != "null":
                yield from _types(described, one)
    elif "enum" in field or "const" in field:
        yield from map(json.dumps, field.get("enum", [field.get("const")]))
    elif "$ref" in field:
        yield field["$ref"].rpartition("/")[2]
    elif field.get("type") == "array":
        yield f"list of {_type(described, field.get('items', {}))}"
    elif "type" in field:
        yield str(field["type"])


def _resolved(described: Schema, schema: Schema) -> Schema:
    """Return the schema that a reference names."""
    if "$ref" not in schema:
        return schema
    found: Schema = described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return found
