"""The part of a store that matches a filter, as a store of its own: what one tenant may use."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from dataclasses import replace

from m3rag.documents import Passage
from m3rag.errors import InputError
from m3rag.limits import shown
from m3rag.stores.base import Candidates, Floats, Points, QueryPlan, Store, by_id
from m3rag.stores.filters import And, Filter, In, Not, matches

_PAGE = 256  # ids that are looked up at a time

_locks: weakref.WeakKeyDictionary[Store, threading.Lock] = weakref.WeakKeyDictionary()


class FilteredStore:
    """The passages of a store that match a filter; others can be neither read nor replaced.

    The idf of BM25 counts all passages of the whole store, as in a search with a filter.

    Args:
        store: The whole store, which stays open when this one is closed.
        where: The filter.
    """

    def __init__(self, store: Store, where: Filter) -> None:
        self._store = store
        self._where = where
        # Between the check of the ids and the write, no other tenant may take one of them.
        self._writing = _locks.setdefault(store, threading.Lock())

    def add(self, points: Points, *, durable: bool = False) -> None:
        """Store points that match the filter.

        Raises:
            InputError: One does not match, or would replace a passage that does not.
        """
        with self._writing:
            self._check(points.passages)
            self._store.add(points, durable=durable)

    def update(self, passages: Sequence[Passage], *, ids: Sequence[str] | None = None) -> int:
        """Replace the passages that exist and match, and keep their vectors.

        Raises:
            InputError: A new one does not match, or would replace a passage that does not.
        """
        with self._writing:
            new = by_id(passages, ids)
            old = self.get(list(new))
            kept = {i: new[i] for i, found in zip(new, old, strict=True) if found is not None}
            self._check([*kept.values()])
            return self._store.update([*kept.values()], ids=[*kept])

    def delete(self, ids: Sequence[str]) -> int:
        """Delete the passages that exist and match, and return their number."""
        return self.delete_where(In("$id", tuple(ids)))

    def delete_where(self, where: Filter) -> int:
        """Delete the passages that match both filters, and return their number."""
        return self._store.delete_where(self._both(where))

    def get(self, ids: Sequence[str]) -> list[Passage | None]:
        """Return the passages in the order of `ids`; None for those that do not match, too."""
        found = self._store.get(ids)
        return [p if p is not None and matches(self._where, p) else None for p in found]

    def term_weights(self, ids: Sequence[str]) -> list[dict[int, float]]:
        """Return the sparse vectors in the order of `ids`; empty for other passages."""
        weights = self._store.term_weights(ids)
        return [
            {} if passage is None else own
            for passage, own in zip(self.get(ids), weights, strict=True)
        ]

    def dense_vectors(self, ids: Sequence[str]) -> list[Floats | None]:
        """Return the dense vectors `(d,)` in the order of `ids`; None for other passages."""
        vectors = self._store.dense_vectors(ids)
        return [
            None if passage is None else own
            for passage, own in zip(self.get(ids), vectors, strict=True)
        ]

    def count(self, where: Filter | None = None) -> int:
        """Return the number of passages that match both filters."""
        return self._store.count(self._both(where))

    def scan(
        self, where: Filter | None, after: str | None, limit: int
    ) -> tuple[list[Passage], str | None]:
        """Return a page of the passages that match both filters."""
        return self._store.scan(self._both(where), after, limit)

    def search(self, plans: Sequence[QueryPlan]) -> list[Candidates]:
        """Return the candidates of each plan that match."""
        return self._store.search([replace(p, where=self._both(p.where)) for p in plans])

    def optimize(self) -> None:
        """Rearrange the data of the whole store."""
        self._store.optimize()

    def close(self) -> None:
        """Do nothing: the whole store stays open."""

    def _both(self, where: Filter | None) -> Filter:
        return self._where if where is None else And((self._where, where))

    def _check(self, passages: Sequence[Passage]) -> None:
        """Check that new passages match, and replace none that does not.

        Raises:
            InputError: One does not.
        """
        for passage in passages:
            if not matches(self._where, passage):
                raise InputError(
                    f"Passage {shown(passage.id)} does not match the filter to which this access "
                    "is held. Give it the metadata that the filter asks for."
                )
        ids = [passage.id for passage in passages]
        documents = sorted({p.document_id for p in passages if p.document_id is not None})
        for field, names in (("$id", ids), ("$document_id", documents)):
            for start in range(0, len(names), _PAGE):
                part = In(field, tuple(names[start : start + _PAGE]))
                others, _ = self._store.scan(And((part, Not(self._where))), None, 1)
                for taken in others:
                    name = taken.id if field == "$id" else taken.document_id
                    raise InputError(
                        f"The id {shown(name)} is taken by a passage that does not match the "
                        "filter to which this access is held. Choose another id."
                    )
