"""A long-term store for LangGraph over an index: memories that are found in any language."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from heapq import nlargest
from typing import Any, Self

from m3rag.extras import require

require("langgraph", "agents")

from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)

from m3rag.closing import Closing, closed_on_errors
from m3rag.documents import Passage
from m3rag.errors import InputError
from m3rag.frameworks import (
    OPENING,
    IndexLike,
    ModelLike,
    check_names,
    held_filters,
    least_score,
    names_of,
)
from m3rag.frameworks.expiry import check_minutes, expired, living, renew
from m3rag.index.settings import SearchSettings
from m3rag.langchain.component import component_index
from m3rag.langchain.items import (
    HEADS,
    WHOLE,
    Namespace,
    check_op,
    checked_fields,
    conditions,
    head_id,
    item_id,
    item_of,
    matches,
    namespace_of,
    passages_of,
    within,
)
from m3rag.langchain.store_arguments import new_colbert
from m3rag.limits import shown
from m3rag.scoring import Weights
from m3rag.threads import in_thread

_TTL = ("refresh_on_read", "omit_expired", "default_ttl", "sweep_interval_minutes")
_CANDIDATES = 100


class M3Store(Closing, BaseStore):
    """A LangGraph store over an `M3Index`, for `create_agent(store=…)` and `compile(store=…)`.

    `search(query=…)` searches by all channels, across languages. Items are passages of the index:
    with `path`, they outlive the process, and a killed process loses no item that `put` has stored.
    Without a query, the items that were changed last come first.

    Example:
        >>> store = M3Store(model="tiny")
        >>> store.put(("users", "ann"), "plant", {"text": "Ann grows ferns in the shade."})
        >>> store.search(("users",), query="Where do ferns grow?")[0].key
        'plant'

    Args:
        index: The index for the items, or the folder of an existing one; by default, `path` and
            `model` open or create one. Use an index for items alone.
        path: The folder of the index; None for an index in memory.
        model: A model, or the name of the process's shared model. Without one, an existing folder
            gets its own, and a new index BAAI/bge-m3.
        fields: The fields of a value to search, unless `put(index=…)` says so: paths such as "text"
            or "messages[*].content", and "$" for all of it. Each text that they lead to is encoded
            alone, and an item has the score of its best.
        weights: The weights of the channels, as for `M3EnsembleRetriever`.
        min_score: The lowest score of an item that a query finds.
        ttl: LangGraph's settings of expiry: `default_ttl` in minutes, `refresh_on_read` (True by
            default), `sweep_interval_minutes` (after which the next `put` deletes what has
            expired), and `omit_expired`: True by default, so that an expired item is never
            returned.
        opening: The settings of `M3Index.open`.

    Raises:
        InputError: A setting is not valid.
    """

    supports_ttl = True

    def __init__(
        self,
        index: IndexLike | None = None,
        *,
        path: object = None,
        model: ModelLike = None,
        fields: Sequence[str] = (WHOLE,),
        weights: Weights = "default",
        min_score: float | str | None = None,
        ttl: TTLConfig | None = None,
        **opening: Any,
    ) -> None:
        check_names("M3Store", opening, (*names_of(M3Store.__init__), *OPENING))
        check_names("ttl of M3Store", ttl or {}, _TTL)
        for name in ("default_ttl", "sweep_interval_minutes"):
            check_minutes(name, (ttl or {}).get(name))
        self.fields = checked_fields("fields", fields)
        self.weights = weights
        self.ttl_config = ttl
        if held_filters(index, "base_filter"):
            raise InputError(
                "M3Store keeps users apart by namespaces and has no base filter, but what it is "
                "given has one. Pass an index for memories alone."
            )
        settings: Any = opening
        self.index, opened = component_index(
            "M3Store", index, path, model, settings, new_colbert=new_colbert(weights), needed=False
        )
        with closed_on_errors(self.index if opened else None):
            self.min_score = least_score(self.index, min_score, weights)
            self._settings = SearchSettings(
                weights=weights, min_score=self.min_score, max_per_document=1
            )
            self.index.check(1, settings=self._settings)
        self._changes = threading.Lock()  # what reads an item and then writes it
        self._swept = -float("inf")

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations, first all that read and then all that write; return their results.

        Raises:
            InvalidNamespaceError: A label of a namespace is empty, no string, or contains a dot.
            InputError: A value, a filter or a time to live cannot be used.
        """
        ops = list(ops)
        for op in ops:
            check_op(op)
        results = [self._read(op) for op in ops]
        puts = {item_id(op.namespace, op.key): op for op in ops if isinstance(op, PutOp)}
        if puts:
            self._write([*puts.values()])
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Run `batch` in a thread."""
        return await in_thread(self.batch, list(ops))

    def sweep_ttl(self) -> int:
        """Delete the items that have expired, and return their number."""
        with self._changes:
            return self._sweep()

    def close(self) -> None:
        """Close the index, also for others that use it; a second call does nothing."""
        self.index.close()

    def __copy__(self) -> Self:
        return self  # a store stands for its index, and has one lock

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_changes"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._changes = threading.Lock()

    def __repr__(self) -> str:
        return f"M3Store({self.index!r}, fields={shown(self.fields)})"

    def _read(self, op: Op) -> Result:
        if isinstance(op, GetOp):
            return self._get(op)
        if isinstance(op, SearchOp):
            return self._search(op)
        if isinstance(op, ListNamespacesOp):
            return self._namespaces(op)
        return None  # writing comes after all reading

    def _get(self, op: GetOp) -> Item | None:
        (head,) = self.index.get([head_id(item_id(op.namespace, op.key))])
        if head is None or self._gone(head):
            return None
        if op.refresh_ttl:
            self._refresh([head])
        return item_of(head)

    def _search(self, op: SearchOp) -> list[SearchItem]:
        if op.limit == 0:
            return []
        where = [within(op.namespace_prefix), *self._alive(), *conditions(op.filter or {})]
        if op.query and op.query.strip():
            found = self._ranked(op, where)
        else:
            heads = self.index.passages({"$and": [HEADS, *where]})
            end = op.offset + op.limit
            last = nlargest(end, heads, key=lambda head: head.metadata["updated_at"])
            found = [(head, None) for head in last[op.offset :]]
        if op.refresh_ttl:
            self._refresh([head for head, _ in found])
        return [item_of(head, score) for head, score in found]

    def _ranked(
        self, op: SearchOp, where: list[dict[str, Any]]
    ) -> list[tuple[Passage, float | None]]:
        """Return the heads of the items that a query finds, with their scores."""
        settings = self._settings.changed(
            filter={"$and": [{"searched": True}, *where]},
            offset=op.offset,
            candidates=max(_CANDIDATES, 4 * (op.offset + op.limit)),  # items have several texts
        )
        hits = self.index.search(op.query or "", op.limit, settings=settings)
        heads = self.index.get([head_id(hit.passage.document_id) for hit in hits])
        pairs = zip(heads, hits, strict=True)
        return [(head, hit.score) for head, hit in pairs if head is not None]

    def _namespaces(self, op: ListNamespacesOp) -> list[Namespace]:
        heads = self.index.passages({"$and": [HEADS, within(()), *self._alive()]})
        known = {namespace_of(head) for head in heads}
        wanted = op.match_conditions or ()
        chosen = {n[: op.max_depth] for n in known if all(matches(one, n) for one in wanted)}
        return sorted(chosen)[op.offset : op.offset + op.limit]

    def _write(self, puts: Sequence[PutOp]) -> None:
        now = time.time()
        with self._changes:
            if gone := [item_id(op.namespace, op.key) for op in puts if op.value is None]:
                self.index.delete(filter={"$document_id": gone})
            kept = [op for op in puts if op.value is not None]
            old = self.index.get([head_id(item_id(op.namespace, op.key)) for op in kept])
            passages = [
                passage
                for op, head in zip(kept, old, strict=True)
                for passage in passages_of(op, self.fields, self._created(head), now)
            ]
            self.index.upsert_documents(passages)
            interval = (self.ttl_config or {}).get("sweep_interval_minutes")
            if interval is not None and time.monotonic() - self._swept >= 60 * interval:
                self._sweep()

    def _created(self, head: Passage | None) -> str | None:
        """Return when an item was created; None if it does not exist or has expired."""
        return None if head is None or self._gone(head) else head.metadata["created_at"]

    def _sweep(self) -> int:
        self._swept = time.monotonic()
        where = {**within(()), **expired(time.time())}
        number = self.index.count({**HEADS, **where})
        if number:
            self.index.delete(filter=where)
        return number

    def _refresh(self, heads: Sequence[Passage]) -> None:
        """Let the time to live of items begin again, if they have one."""
        names = [head.document_id for head in heads if "ttl" in head.metadata]
        if names:
            now = time.time()
            with self._changes:
                renew(self.index, names, now)

    def _alive(self) -> list[dict[str, Any]]:
        """Return the filters that leave out what has expired, unless that is to be returned."""
        omit = (self.ttl_config or {}).get("omit_expired", True)
        return [living(time.time())] if omit else []

    def _gone(self, head: Passage) -> bool:
        return bool(self._alive()) and head.metadata.get("expires", float("inf")) <= time.time()
