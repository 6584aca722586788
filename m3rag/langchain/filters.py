"""Filters of the LangChain classes: a dict, or a function of a document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.documents import Document

from m3rag.index.index import M3Index
from m3rag.langchain.documents import to_document

Where = Mapping[str, Any] | Callable[[Document], bool] | None
"""A dict (see `m3rag.stores.filters`) or a function, which is called for every document."""


def where_of(index: M3Index, *filters: Where) -> Mapping[str, Any] | None:
    """Return the filter that all of some filters make together; None if they let all pass.

    A function becomes the ids of the documents that pass it, out of those that pass the dicts.
    """
    dicts = [where for where in filters if where and not callable(where)]
    both = dicts[0] if len(dicts) == 1 else {"$and": dicts} if dicts else None
    for where in filters:
        if callable(where):
            both = {"$id": [p.id for p in index.passages(both) if where(to_document(p))]}
    return both
