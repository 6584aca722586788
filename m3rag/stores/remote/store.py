"""The client's side of a store behind a server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from m3rag.documents import Passage, passage_from_dict, passage_to_dict
from m3rag.errors import ClosedError
from m3rag.http.client import Server
from m3rag.http.messages import Message
from m3rag.stores.base import Candidates, Floats, Points, QueryPlan
from m3rag.stores.filters import Filter, filter_to_dict
from m3rag.stores.remote.values import (
    plans_message,
    points_message,
    received_candidates,
    received_vectors,
    received_weights,
)

_PART_BYTES = 32 << 20  # of a message with points
_PLANS = 256  # of a message
_OPTIMIZE_SECONDS = 3_600.0


class RemoteStore:
    """Points behind a server.

    Args:
        server: The client of the server; the store closes it.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._closed = False

    def add(self, points: Points, *, durable: bool = False) -> None:
        """Store points; a point replaces an older one with the same id."""
        for part in _parts(points):
            body, arrays = points_message(part)
            self._call("add", {**body, "durable": durable}, arrays, writes=True)

    def update(self, passages: Sequence[Passage], *, ids: Sequence[str] | None = None) -> int:
        """Replace the passages that exist, and keep their vectors; return their number."""
        values = [*map(passage_to_dict, passages)]
        body = {"passages": values, "ids": None if ids is None else [*ids]}
        return self._number("update", body, writes=True)

    def delete(self, ids: Sequence[str]) -> int:
        """Delete the passages that exist, and return their number."""
        return self._number("delete", {"ids": [*ids]}, writes=True)

    def delete_where(self, where: Filter) -> int:
        """Delete the passages that match, and return their number."""
        return self._number("delete_where", {"where": filter_to_dict(where)}, writes=True)

    def get(self, ids: Sequence[str]) -> list[Passage | None]:
        """Return the passages in the order of `ids`; None for an id that does not exist."""
        body, _ = self._call("get", {"ids": [*ids]})
        with self._server.understood():
            return [None if p is None else passage_from_dict(p) for p in body["passages"]]

    def term_weights(self, ids: Sequence[str]) -> list[dict[int, float]]:
        """Return the sparse vectors in the order of `ids`; empty for an id that does not exist."""
        _, arrays = self._call("term_weights", {"ids": [*ids]})
        with self._server.understood():
            return received_weights(arrays, len(ids))

    def dense_vectors(self, ids: Sequence[str]) -> list[Floats | None]:
        """Return the dense vectors `(d,)` in the order of `ids`; None for an unknown id."""
        message = self._call("dense_vectors", {"ids": [*ids]})
        with self._server.understood():
            return received_vectors(message)

    def count(self, where: Filter | None = None) -> int:
        """Return the number of passages, or of those that match."""
        return self._number("count", _where(where))

    def scan(
        self, where: Filter | None, after: str | None, limit: int
    ) -> tuple[list[Passage], str | None]:
        """Return a page of the passages that match, in the order of the server's store."""
        body, _ = self._call("scan", {**_where(where), "after": after, "limit": limit})
        with self._server.understood():
            return [passage_from_dict(p) for p in body["passages"]], body["after"]

    def search(self, plans: Sequence[QueryPlan]) -> list[Candidates]:
        """Return the candidates of each plan."""
        found: list[Candidates] = []
        for start in range(0, len(plans), _PLANS):
            message = self._call("search", *plans_message(plans[start : start + _PLANS]))
            with self._server.understood():
                found += received_candidates(message)
        return found

    def optimize(self) -> None:
        """Rearrange the data for fast searches; waits up to an hour for it."""
        self._call("optimize", {}, writes=True, timeout=_OPTIMIZE_SECONDS)

    def close(self) -> None:
        """Close the connections; the server keeps the index open. A second call does nothing."""
        self._closed = True
        self._server.close()

    def _call(
        self,
        method: str,
        body: dict[str, Any],
        arrays: Sequence[NDArray[Any]] = (),
        *,
        writes: bool = False,
        timeout: float | None = None,
    ) -> Message:
        if self._closed:
            raise ClosedError("This index is closed. Open it again: M3Index.open(url).")
        return self._server.call(method, body, arrays, writes=writes, timeout=timeout)

    def _number(self, method: str, body: dict[str, Any], *, writes: bool = False) -> int:
        message = self._call(method, body, writes=writes)
        with self._server.understood():
            return int(message[0]["number"])


def _where(where: Filter | None) -> dict[str, Any]:
    return {"where": None if where is None else filter_to_dict(where)}


def _parts(points: Points) -> Iterator[Points]:
    """Yield points in parts of about `_PART_BYTES`; one point alone may be larger."""
    size = points.dense.nbytes + 8 * len(points.sparse.values) + 8 * len(points.bm25.values)
    size += 0 if points.colbert is None else points.colbert.vectors.nbytes
    size += sum(4 * len(passage.text) for passage in points.passages)
    step = max(1, _PART_BYTES * len(points) // (size + 1))
    for start in range(0, len(points), step):
        yield points[start : start + step]
