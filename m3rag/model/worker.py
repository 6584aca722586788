"""The thread that owns the network.

Other threads submit a request and wait for its future. Requests that wait at the same time are
encoded together, so one mechanism gives micro-batching, thread safety and a free event loop. Short
requests are usually interactive: they wait for at most one batch of a long request. A single
request starts immediately instead of waiting for others. If others arrive during the first layers
of a pass of short requests, the pass starts again with all of them.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import numpy as np
import torch

from m3rag.encoding import Encoding
from m3rag.errors import ClosedError, ForkError
from m3rag.model.memo import Memo, TextViews, Unit
from m3rag.model.network import M3Network, PassInterruptedError, sparse_rows
from m3rag.model.request import EncodingRequest
from m3rag.model.tokenizer import Tokenizer, Tokens
from m3rag.threads import give_way

_SHORT = 8  # most units of a short request
_SLICE = 128  # units that are tokenised ahead at a time
_BULK = 1024  # units; the ColBERT vectors of a longer request would displace each other in the memo
_MAX_RESTARTS = 2  # of a pass


class EncodingThread:
    """Encodes requests in its own thread, packed to `budget` tokens per pass."""

    def __init__(
        self, network: M3Network, tokenizer: Tokenizer, *, budget: int, memo_bytes: int
    ) -> None:
        self._network = network
        self._tokenizer = tokenizer
        self._budget = budget
        self._memo = Memo(memo_bytes)
        self._inbox: queue.SimpleQueue[EncodingRequest | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # no request may follow the signal to stop
        self._closed = False
        self._pending: list[EncodingRequest] = []
        self._turn = 1  # short requests first if odd, long ones if even
        self._restarts = 0  # of the next pass
        self._pid = os.getpid()
        self.passes = 0  # forward passes so far
        self.encoded = 0  # texts encoded so far
        # The thread references the worker, not the M3Model, so an unused model can be collected.
        self._thread = threading.Thread(target=self._run, name="m3rag-worker", daemon=True)
        self._thread.start()

    def submit(self, request: EncodingRequest) -> Future[Encoding]:
        """Queue a request.

        Raises:
            ForkError: This process was forked from the one that loaded the model.
            ClosedError: The model is closed.
        """
        if os.getpid() != self._pid:
            raise ForkError(
                f"This model was loaded in process {self._pid} and cannot be used in its fork "
                f"{os.getpid()}: threads do not survive a fork. Load the model in the child, or "
                'start processes with multiprocessing.get_context("spawn").'
            )
        with self._lock:
            if self._closed:
                raise ClosedError("This model is closed. Load it again with M3Model.load.")
            self._inbox.put(request)
        return request.future

    def stop(self) -> None:
        """End the thread after its current pass; waiting requests fail with `ClosedError`."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            self._closed = True
            self._inbox.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        give_way()  # to threads that are about to submit a request
        with torch.inference_mode():
            while self._receive():
                batch = self._next_batch()
                requests = list(dict.fromkeys(request for request, _ in batch))
                try:
                    self._encode(batch)
                    for request in requests:
                        self._tokenize_ahead(request)
                except PassInterruptedError:
                    self._restarts += 1
                    continue
                except BaseException as error:  # such as out of memory; the callers must get it
                    for request in requests:
                        request.failure = error
                self._restarts = 0
                self._turn += 1
                self._deliver()
        for request in self._pending:
            request.failure = ClosedError(
                "The model was closed before it encoded this text. Load it again with M3Model.load."
            )
        self._deliver()

    def _receive(self) -> bool:
        """Take all requests out of the inbox; wait for one if none is pending.

        Returns:
            Whether to go on; False after `stop`.
        """
        while True:
            try:
                request = self._inbox.get(block=not self._pending)
            except queue.Empty:
                return True
            if request is None:
                return False
            self._pending.append(request)
            try:
                self._tokenize_ahead(request)
            except BaseException as error:
                request.failure = error
            self._deliver()

    def _should_restart(self) -> bool:
        """Return whether to interrupt the current pass and start it again with new requests."""
        return self._restarts < _MAX_RESTARTS and not (self._closed or self._inbox.empty())

    def _tokenize_ahead(self, request: EncodingRequest) -> None:
        """Add views from the memo and tokenise other units, until some are ready to be encoded."""
        while not request.tokenized and request.next_row < len(request.units):
            rows = range(request.next_row, min(request.next_row + _SLICE, len(request.units)))
            request.next_row = rows.stop
            unknown = []
            for row in rows:
                known = self._memo.get(request.units[row], colbert=request.colbert)
                if known is None:
                    unknown.append(row)
                else:
                    request.add_views(row, known)
            request.tokenized.update(
                zip(unknown, self._cut([request.units[row] for row in unknown]), strict=True)
            )

    def _cut(self, units: list[Unit]) -> Iterator[list[Tokens]]:
        """Yield the tokens of each unit's texts; all units must have the same settings."""
        if units:
            texts = [text for unit in units for text in unit.texts]
            cut = iter(self._tokenizer.cut(texts, units[0].limit, units[0].mcls))
            yield from ([next(cut) for _ in unit.texts] for unit in units)

    def _next_batch(self) -> list[tuple[EncodingRequest, int]]:
        """Return the (request, row) pairs of the next pass; short and long requests take turns."""
        short = [r for r in self._pending if len(r.units) <= _SHORT]
        long = [r for r in self._pending if len(r.units) > _SHORT]
        batch: list[tuple[EncodingRequest, int]] = []
        tokens = 0
        for request in short if short and (self._turn % 2 or not long) else long:
            for row, cut in request.tokenized.items():
                if batch and tokens + _tokens(cut) > self._budget:
                    return batch
                batch.append((request, row))
                tokens += _tokens(cut)
        return batch

    def _encode(self, batch: list[tuple[EncodingRequest, int]]) -> None:
        """Encode each distinct unit of a batch once and add its views to all its requests."""
        requesters: dict[Unit, list[tuple[EncodingRequest, int]]] = {}
        for request, row in batch:
            requesters.setdefault(request.units[row], []).append((request, row))
        groups = []
        for unit, places in requesters.items():
            colbert = any(request.colbert for request, _ in places)
            known = self._memo.get(unit, colbert=colbert)
            if known is None:
                request, row = places[0]
                groups.append((request.tokenized[row], unit))
            else:  # encoded for another request in the meantime
                _add_views(places, known)
        if not groups:
            return
        groups.sort(key=lambda group: _tokens(group[0]))
        colbert = any(request.colbert for request, _ in batch)
        short = all(len(request.units) <= _SHORT for request, _ in batch)
        encoded = self._forward([cuts for cuts, _ in groups], colbert=colbert, short=short)
        for cuts, unit in groups:
            views = [next(encoded) for _ in cuts]
            bulk = all(len(request.units) > _BULK for request, _ in requesters[unit])
            self._memo.put(unit, [v.without_colbert() for v in views] if bulk else views)
            _add_views(requesters[unit], views)

    def _forward(
        self, units: list[list[Tokens]], *, colbert: bool, short: bool
    ) -> Iterator[TextViews]:
        """Run one pass over units ordered by length and yield the views of each text."""
        interrupt = self._should_restart if short else None
        views = self._network(units, colbert=colbert, interrupt=interrupt)
        cuts = [cut for unit in units for cut in unit]
        self.passes += 1
        self.encoded += len(cuts)
        start = specials = 0
        for i, cut in enumerate(cuts):
            end = start + len(cut.ids)
            before, specials = specials, specials + len(cut.cls)
            weights = views.weights[start:end].copy()
            sparse = sparse_rows(np.array(cut.ids), weights, self._tokenizer.unweighted)
            # The ColBERT rows do not include any <s>, neither of this text nor of those before it.
            rows = None if views.colbert is None else views.colbert[start - before : end - specials]
            yield TextViews(
                len(cut.ids),
                cut.total,
                views.dense[i].copy(),
                np.delete(weights, cut.cls[1:]),
                sparse,
                None if rows is None else rows.copy(),
            )
            start = end

    def _deliver(self) -> None:
        """Deliver the results of finished requests."""
        for request in [request for request in self._pending if request.finished]:
            self._pending.remove(request)
            request.finish()


def _add_views(places: list[tuple[EncodingRequest, int]], views: Sequence[TextViews]) -> None:
    for request, row in places:
        del request.tokenized[row]
        request.add_views(row, views)


def _tokens(cuts: Sequence[Tokens]) -> int:
    return sum(len(cut.ids) for cut in cuts)
