"""The thread that owns a network.

Other threads submit a request and wait for its future. Requests that wait at the same time are
computed together, so one mechanism gives micro-batching, thread safety and a free event loop. Short
requests are usually interactive: they wait for at most one batch of a long request. A single
request starts immediately instead of waiting for others. If others arrive during the first layers
of a pass of short requests, the pass starts again with all of them.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, ClassVar, Generic, TypeVar

import torch

from m3rag.errors import ClosedError, ForkError
from m3rag.model.backbone import Interrupt, PassInterruptedError
from m3rag.model.request import Request
from m3rag.model.tokenizer import Tokens
from m3rag.threads import give_way

R = TypeVar("R", bound=Request[Any, Any])

_SHORT = 8  # most units of a short request
SLICE = 128  # units that are tokenised ahead at a time
_MAX_RESTARTS = 2  # of a pass


class NetworkThread(Generic[R]):
    """Answers requests in its own thread, packed to `budget` tokens per pass.

    Attributes:
        passes: The number of forward passes so far.
        encoded: The number of texts or pairs that went through the network so far.
        tokens: Their tokens.
        memo_hits: The number of units that were not computed because a memo had them.
    """

    load: ClassVar[str]
    """The function that loads such a model, for errors."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._inbox: queue.SimpleQueue[R | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # no request may follow the signal to stop
        self._closed = False
        self._pending: list[R] = []
        self._turn = 1  # short requests first if odd, long ones if even
        self._restarts = 0  # of the next pass
        self._pid = os.getpid()
        self.passes = 0
        self.encoded = 0
        self.tokens = 0
        self.memo_hits = 0
        # The thread references the worker, not the model, so an unused model can be collected.
        self._thread = threading.Thread(target=self._run, name="m3rag-worker", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """The number of requests that are not answered yet."""
        return self._inbox.qsize() + len(self._pending)

    def submit(self, request: R) -> Future[Any]:
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
                raise ClosedError(f"This model is closed. Load it again with {self.load}.")
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

    def _tokenize_ahead(self, request: R) -> None:
        """Tokenise units of a request, until some are ready to be computed."""
        raise NotImplementedError

    def _compute(self, places: Mapping[Any, list[tuple[R, int]]], interrupt: Interrupt) -> None:
        """Compute each unit of a batch once, and add the result wherever it was requested.

        Args:
            places: The (request, row) pairs of each distinct unit.
            interrupt: Returns whether to interrupt the pass; None for a pass that goes on.
        """
        raise NotImplementedError

    def _run(self) -> None:
        give_way()  # to threads that are about to submit a request
        with torch.inference_mode():
            while self._receive():
                batch = self._next_batch()
                requests = list(dict.fromkeys(request for request, _ in batch))
                try:
                    short = all(len(request.units) <= _SHORT for request in requests)
                    self._compute(_by_unit(batch), self._should_restart if short else None)
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
                f"The model was closed before it encoded this text. Load it again with {self.load}."
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

    def _next_batch(self) -> list[tuple[R, int]]:
        """Return the (request, row) pairs of the next pass; short and long requests take turns."""
        short = [r for r in self._pending if len(r.units) <= _SHORT]
        long = [r for r in self._pending if len(r.units) > _SHORT]
        batch: list[tuple[R, int]] = []
        tokens = 0
        for request in short if short and (self._turn % 2 or not long) else long:
            for row, cut in request.tokenized.items():
                if batch and tokens + count(cut) > self._budget:
                    return batch
                batch.append((request, row))
                tokens += count(cut)
        return batch

    def _deliver(self) -> None:
        """Deliver the results of finished requests."""
        for request in [request for request in self._pending if request.finished]:
            self._pending.remove(request)
            request.finish()


def _by_unit(batch: Iterable[tuple[R, int]]) -> dict[Any, list[tuple[R, int]]]:
    """Return the (request, row) pairs of each distinct unit of a batch."""
    places: dict[Any, list[tuple[R, int]]] = {}
    for request, row in batch:
        places.setdefault(request.units[row], []).append((request, row))
    return places


def count(cuts: Sequence[Tokens]) -> int:
    """Return the number of tokens of a unit."""
    return sum(len(cut.ids) for cut in cuts)
