"""Convert items of LangGraph's stores to passages and back, and their filters to ours.

Item                            Passage
namespace ("users", "ann")      metadata["namespace"] "users.ann."; labels contain no "."
key "k"                         metadata["key"]; document_id "users.ann..k"
value                           metadata["value"]
created_at, updated_at          metadata["created_at"], ["updated_at"], in ISO 8601
its n-th text to search         text; id "users.ann..k#n"

Each text to search is a passage. The first one, which every item has, is its head: it says what
the item is, also after an update that was interrupted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchItem,
    SearchOp,
    get_text_at_path,
)

from m3rag.documents import Passage, as_passage
from m3rag.errors import InputError
from m3rag.frameworks.expiry import check_minutes, expiry
from m3rag.limits import shown

Namespace = tuple[str, ...]
WHOLE = "$"
"""The field that stands for the whole value."""

HEADS = {"part": 0}
"""The filter of the heads of items, which leaves out their other texts."""

_TREES = ("$and", "$or")


def check_op(op: object) -> None:
    """Check an operation.

    Raises:
        InvalidNamespaceError: A label of a namespace is empty, no string, or contains a dot.
        InputError: It is no operation, or a key, a field or a time to live cannot be used.
    """
    if isinstance(op, GetOp | PutOp):
        _check_namespace(op.namespace)
        if not isinstance(op.key, str):
            raise InputError(f"The key of an item must be a string, got {shown(op.key)}.")
    if isinstance(op, PutOp):
        check_minutes("ttl", op.ttl)
        if op.index is not False and op.index is not None:
            checked_fields("index", op.index)
    elif isinstance(op, SearchOp):
        _check_namespace(op.namespace_prefix, prefix=True)
    elif isinstance(op, ListNamespacesOp):
        for condition in op.match_conditions or ():
            _check_namespace(condition.path, prefix=True)
    elif not isinstance(op, GetOp):
        raise InputError(f"A store has no operation {shown(op)}.")


def checked_fields(name: str, fields: object) -> tuple[str, ...]:
    """Return the paths of fields of a value after checking them.

    Args:
        name: The name of the argument, for the error.
        fields: A list of paths.

    Raises:
        InputError: They are something else.
    """
    if isinstance(fields, Sequence) and not isinstance(fields, str):
        found = tuple(fields)
        if all(isinstance(field, str) and field for field in found):
            return found
    raise InputError(f'`{name}` must be a list of paths such as ["text"], got {shown(fields)}.')


def _check_namespace(namespace: Sequence[str], *, prefix: bool = False) -> None:
    """Check a namespace, as LangGraph's own methods do before they call `batch`."""
    if not namespace and not prefix:
        raise InvalidNamespaceError('A namespace needs a label, such as ("users", "ann").')
    for label in namespace:
        if not isinstance(label, str) or not label or "." in label or "\0" in label:
            raise InvalidNamespaceError(
                f"The labels of a namespace must be strings without dots, got {shown(label)} in "
                f"{shown(namespace)}."
            )


def item_id(namespace: Namespace, key: str) -> str:
    """Return the document id of an item; no two items have the same."""
    return f"{'.'.join(namespace)}..{key}"


def head_id(document_id: str | None) -> str:
    """Return the passage id of the head of an item."""
    return f"{document_id}#0"


def passages_of(op: PutOp, fields: Sequence[str], created: str | None, now: float) -> list[Passage]:
    """Return the passages of an item that is put, the head first.

    Args:
        op: What to put.
        fields: The fields to search if `op` does not say.
        created: When the item was created; None for a new one.
        now: The time in seconds since 1970.

    Raises:
        InputError: The value is no dict of JSON values.
    """
    if not isinstance(op.value, Mapping):
        raise InputError(f"The value of an item must be a dict, got {shown(op.value)}.")
    time = datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds")
    name = item_id(op.namespace, op.key)
    metadata: dict[str, Any] = {
        "namespace": f"{'.'.join(op.namespace)}.",
        "key": op.key,
        "value": dict(op.value),
        "created_at": created or time,
        "updated_at": time,
        **expiry(op.ttl, now),
    }
    checked = as_passage(Passage(head_id(name), "", metadata)).metadata
    chosen = fields if op.index is None else op.index or ()
    texts = list(dict.fromkeys(_texts(checked["value"], chosen)))
    return [
        Passage(
            f"{name}#{part}",
            text,
            {**checked, "part": part, "searched": bool(texts)},
            document_id=name,
        )
        for part, text in enumerate(texts or [""])
    ]


def item_of(head: Passage, score: float | None = None) -> SearchItem:
    """Return the item of a head."""
    at = head.metadata
    return SearchItem(
        namespace=namespace_of(head),
        key=at["key"],
        value=at["value"],
        created_at=datetime.fromisoformat(at["created_at"]),
        updated_at=datetime.fromisoformat(at["updated_at"]),
        score=score,
    )


def namespace_of(head: Passage) -> Namespace:
    """Return the namespace of an item."""
    return tuple(head.metadata["namespace"].split(".")[:-1])


def within(prefix: Namespace) -> dict[str, Any]:
    """Return the filter of the items under a prefix of namespaces."""
    if not prefix:
        return {"namespace": {"exists": True}}
    return {"namespace": {"prefix": f"{'.'.join(prefix)}."}}


def conditions(where: Mapping[str, Any], at: str = "value") -> Iterator[dict[str, Any]]:
    """Yield the filters that all together are a filter of LangGraph on the values of items.

    Args:
        where: A value or operators ($eq, $ne, $gt, $gte, $lt, $lte, and those of
            `m3rag.stores.filters`) for each key; a dict without operators for keys inside.
        at: The field in which the keys are.

    Raises:
        InputError: It asks whether a list is equal to another.
    """
    if not isinstance(where, Mapping):
        raise InputError(f"`filter` must be a dict, got {shown(where)}.")
    for key, wanted in where.items():
        field = f"{at}.{key}"
        if key in _TREES:
            yield {key: [{"$and": [*conditions(part, at)]} for part in wanted]}
        elif key == "$not":
            yield {"$not": {"$and": [*conditions(wanted, at)]}}
        elif not isinstance(wanted, Mapping):
            yield _equal(field, wanted)
        elif not any(str(name).startswith("$") for name in wanted):
            yield from conditions(wanted, field)
        else:
            yield from (_compared(field, name, value) for name, value in wanted.items())


def matches(condition: MatchCondition, namespace: Namespace) -> bool:
    """Return whether a namespace begins or ends with a path, in which "*" is any label."""
    n = len(condition.path)
    part = namespace[:n] if condition.match_type == "prefix" else namespace[-n:]
    pairs = zip(part, condition.path, strict=False)
    return len(part) == n and all(wanted in ("*", label) for label, wanted in pairs)


def _equal(field: str, wanted: object) -> dict[str, Any]:
    if wanted is None:
        return {field: {"exists": False}}
    if isinstance(wanted, list | tuple):
        raise InputError(
            f"The filter on {shown(field.partition('.')[2])} is a list. For items with one of "
            f'these values, write {{"$in": {shown(wanted)}}}.'
        )
    return {field: {"eq": wanted}}


def _compared(field: str, operator: str, value: object) -> dict[str, Any]:
    if operator in ("$eq", "$ne"):
        equal = _equal(field, value)
        return equal if operator == "$eq" else {"$not": equal}
    return {field: {operator: value}}


def _texts(value: Mapping[str, Any], fields: Iterable[str]) -> Iterator[str]:
    for field in fields:
        found = ["\n".join(_lines(value))] if field == WHOLE else get_text_at_path(value, field)
        yield from (text for text in found if text.strip())


def _lines(value: object, name: str = "") -> Iterator[str]:
    """Yield "name: text" for all that a value holds: JSON's marks would be noise to the model."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _lines(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from _lines(inner, name)
    elif value is not None:
        yield f"{name}: {value}"
