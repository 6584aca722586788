"""The one thread that owns the network.

Everybody else leaves a request and waits for its future. What waits together is encoded together,
so micro-batching, thread safety and a free event loop are one mechanism. A request of a few texts
is somebody waiting for an answer: it never queues behind more than one batch of a long one. Who
asks alone is served at once: nothing waits for company. If company comes while the pass of short
requests has hardly begun, the pass begins again with all of them.
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
from m3rag.model.network import M3Network, PassRestarted, sparse_rows
from m3rag.model.request import EncodingRequest
from m3rag.model.tokenizer import Tokenizer, Tokens
from m3rag.threads import give_way

_SHORT = 8  # units; a request this small goes first
_SLICE = 128  # units of a long request that are tokenised ahead
_BULK = 1024  # units; ColBERT vectors of a longer request would push each other out of the memo
_AGAIN = 2  # times that a pass may begin again


class EncodingThread:
    """Encodes requests in a thread of its own, packed to `budget` tokens a pass."""

    def __init__(
        self, network: M3Network, tokenizer: Tokenizer, *, budget: int, memo_bytes: int
    ) -> None:
        self._network = network
        self._tokenizer = tokenizer
        self._budget = budget
        self._memo = Memo(memo_bytes)
        self._inbox: queue.SimpleQueue[EncodingRequest | None] = queue.SimpleQueue()
        self._door = threading.Lock()  # nobody enters behind the request to stop
        self._closed = False
        self._pending: list[EncodingRequest] = []
        self._turn = 1
        self._begun = 0  # times that the next pass has been given up
        self._pid = os.getpid()
        self.passes = 0  # forward passes so far
        self.encoded = 0  # texts that went through them
        # The thread holds the worker, never the M3Model: a forgotten model is collected and closes.
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
        with self._door:
            if self._closed:
                raise ClosedError("This model is closed. Load it again with M3Model.load.")
            self._inbox.put(request)
        return request.future

    def stop(self) -> None:
        """End the thread after its current pass; what still waits gets an error."""
        if os.getpid() != self._pid:
            return
        with self._door:
            self._closed = True
            self._inbox.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        give_way()  # to those who are about to leave a request
        with torch.inference_mode():
            while self._receive():
                batch = self._next_batch()
                requests = list(dict.fromkeys(request for request, _ in batch))
                try:
                    self._encode(batch)
                    for request in requests:
                        self._look_ahead(request)
                except PassRestarted:
                    self._begun += 1
                    continue
                except BaseException as error:  # out of memory, say: the callers must hear it
                    for request in requests:
                        request.failure = error
                self._begun = 0
                self._turn += 1
                self._deliver()
        for request in self._pending:
            request.failure = ClosedError("The model was closed before it came to this text.")
        self._deliver()

    def _receive(self) -> bool:
        """Take in what waits, and wait if nothing is left to do. False: stop."""
        while True:
            try:
                request = self._inbox.get(block=not self._pending)
            except queue.Empty:
                return True
            if request is None:
                return False
            self._pending.append(request)
            try:
                self._look_ahead(request)
            except BaseException as error:
                request.failure = error
            self._deliver()

    def _company(self) -> bool:
        """Whether the pass that has just begun should begin again with more requests."""
        return self._begun < _AGAIN and not (self._closed or self._inbox.empty())

    def _look_ahead(self, request: EncodingRequest) -> None:
        """Serve what the memo has and tokenise the next texts until some wait to be encoded."""
        while not request.ahead and request.next < len(request.units):
            rows = range(request.next, min(request.next + _SLICE, len(request.units)))
            request.next = rows.stop
            unknown = []
            for row in rows:
                known = self._memo.get(request.units[row], colbert=request.colbert)
                if known is None:
                    unknown.append(row)
                else:
                    request.give(row, known)
            request.ahead.update(
                zip(unknown, self._cut([request.units[row] for row in unknown]), strict=True)
            )

    def _cut(self, units: list[Unit]) -> Iterator[list[Tokens]]:
        """The tokens of each unit's texts; a request's units all have the same settings."""
        if units:
            texts = [text for unit in units for text in unit.texts]
            cut = iter(self._tokenizer.cut(texts, units[0].limit, units[0].mcls))
            yield from ([next(cut) for _ in unit.texts] for unit in units)

    def _next_batch(self) -> list[tuple[EncodingRequest, int]]:
        """The (request, row)s of the next pass: short requests and long ones take turns."""
        short = [r for r in self._pending if len(r.units) <= _SHORT]
        long = [r for r in self._pending if len(r.units) > _SHORT]
        batch: list[tuple[EncodingRequest, int]] = []
        tokens = 0
        for request in short if short and (self._turn % 2 or not long) else long:
            for row, cut in request.ahead.items():
                if batch and tokens + _tokens(cut) > self._budget:
                    return batch
                batch.append((request, row))
                tokens += _tokens(cut)
        return batch

    def _encode(self, batch: list[tuple[EncodingRequest, int]]) -> None:
        """Encode each different unit of a batch once and give the views to all who asked."""
        asked: dict[Unit, list[tuple[EncodingRequest, int]]] = {}
        for request, row in batch:
            asked.setdefault(request.units[row], []).append((request, row))
        groups = []
        for unit, wanted in asked.items():
            colbert = any(request.colbert for request, _ in wanted)
            known = self._memo.get(unit, colbert=colbert)
            if known is None:
                groups.append((wanted[0][0].ahead[wanted[0][1]], unit))
            else:  # another request has brought it since
                _give(wanted, known)
        if not groups:
            return
        groups.sort(key=lambda group: _tokens(group[0]))
        colbert = any(request.colbert for request, _ in batch)
        short = all(len(request.units) <= _SHORT for request, _ in batch)
        encoded = self._forward([cuts for cuts, _ in groups], colbert=colbert, short=short)
        for cuts, unit in groups:
            views = [next(encoded) for _ in cuts]
            bulk = all(len(request.units) > _BULK for request, _ in asked[unit])
            self._memo.put(unit, [v.without_colbert() for v in views] if bulk else views)
            _give(asked[unit], views)

    def _forward(
        self, units: list[list[Tokens]], *, colbert: bool, short: bool
    ) -> Iterator[TextViews]:
        """One pass over units ordered by length; the views of all their texts."""
        views = self._network(units, colbert=colbert, give_up=self._company if short else None)
        cuts = [cut for unit in units for cut in unit]
        self.passes += 1
        self.encoded += len(cuts)
        start = specials = 0
        for i, cut in enumerate(cuts):
            end = start + len(cut.ids)
            before, specials = specials, specials + len(cut.cls)
            weights = views.weights[start:end].copy()
            sparse = sparse_rows(np.array(cut.ids), weights, self._tokenizer.unweighted)
            # The batch's ColBERT rows lack each <s> of this text and of those before it.
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
        """Finish the requests that are over."""
        for request in [request for request in self._pending if request.over]:
            self._pending.remove(request)
            request.finish()


def _give(wanted: list[tuple[EncodingRequest, int]], views: Sequence[TextViews]) -> None:
    for request, row in wanted:
        del request.ahead[row]
        request.give(row, views)


def _tokens(cuts: Sequence[Tokens]) -> int:
    return sum(len(cut.ids) for cut in cuts)
