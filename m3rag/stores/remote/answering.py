"""The server's side: answers the messages of `RemoteStore` from the store of an index."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from m3rag.documents import Passage, passage_to_dict
from m3rag.errors import InputError
from m3rag.http.messages import Message
from m3rag.http.received import Array
from m3rag.limits import Limits, check_count, shown
from m3rag.stores.base import Store, Widths
from m3rag.stores.filters import Filter
from m3rag.stores.remote.values import (
    candidates_message,
    received_filter,
    received_passages,
    received_plans,
    received_points,
    vectors_message,
    weights_message,
)

READS = ("get", "term_weights", "dense_vectors", "count", "scan", "search")
WRITES = ("add", "update", "delete", "delete_where", "optimize")
"""The methods that change the store."""


def answer(
    store: Store,
    method: str,
    body: Mapping[str, Any],
    arrays: list[Array],
    *,
    widths: Widths,
    limits: Limits,
) -> Message:
    """Return the answer to a message.

    Args:
        store: The store.
        method: The name of its method.
        body: The arguments.
        arrays: The arrays of the arguments.
        widths: The widths of the store's vectors.
        limits: The largest passages, filters and numbers to accept.

    Raises:
        InputError: There is no such method, or an argument is missing or wrong.
        StorageError: The store failed.
    """
    match method:
        case "add":
            points = received_points(body.get("passages"), arrays, widths, limits)
            store.add(points, durable=body.get("durable") is True)
            return {}, []
        case "update":
            return {"number": _update(store, body, limits)}, []
        case "delete":
            return {"number": store.delete(_ids(body))}, []
        case "delete_where":
            return {"number": store.delete_where(_needed(body, limits))}, []
        case "get":
            return {"passages": [*map(_values, store.get(_ids(body)))]}, []
        case "term_weights":
            return weights_message(store.term_weights(_ids(body)))
        case "dense_vectors":
            return vectors_message(store.dense_vectors(_ids(body)))
        case "count":
            return {"number": store.count(received_filter(body.get("where"), limits))}, []
        case "scan":
            return _scan(store, body, limits), []
        case "search":
            plans = received_plans(body.get("plans"), arrays, widths, limits)
            return candidates_message(store.search(plans))
        case "optimize":
            store.optimize()
            return {}, []
    methods = ", ".join([*READS, *WRITES])
    raise InputError(f"There is no method {shown(method)}. There are: {methods}.")


def _update(store: Store, body: Mapping[str, Any], limits: Limits) -> int:
    passages = received_passages(body.get("passages"), limits)
    ids = None if body.get("ids") is None else _ids(body)
    if ids is not None and len(ids) != len(passages):
        raise InputError(f"There are {len(ids):,} ids for {len(passages):,} passages.")
    for names in ([passage.id for passage in passages], ids or []):
        if len(set(names)) < len(names):
            raise InputError("Two passages of the message have the same id.")
    return store.update(passages, ids=ids)


def _scan(store: Store, body: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    after = body.get("after")
    if after is not None and not isinstance(after, str):
        raise InputError(f"`after` must be a string or null, got {shown(after)}.")
    limit = check_count("limit", body.get("limit"), most=limits.results)
    passages, following = store.scan(received_filter(body.get("where"), limits), after, limit)
    return {"passages": [*map(passage_to_dict, passages)], "after": following}


def _values(passage: Passage | None) -> dict[str, Any] | None:
    return None if passage is None else passage_to_dict(passage)


def _ids(body: Mapping[str, Any]) -> list[str]:
    ids = body.get("ids")
    if not isinstance(ids, list) or not all(isinstance(i, str) for i in ids):
        raise InputError(f"`ids` must be a list of strings, got {shown(ids)}.")
    return ids


def _needed(body: Mapping[str, Any], limits: Limits) -> Filter:
    where: Filter | None = received_filter(body.get("where"), limits)
    if where is None:
        raise InputError("A deletion needs a filter that is not empty.")
    return where
