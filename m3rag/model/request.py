"""A request to encode texts, with the views that it has so far."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from m3rag.encoder import TEXT_NAMES
from m3rag.encoding import Encoding, GrowingMultiVectors, MultiVectors, SparseVectors
from m3rag.errors import InputError, TruncationWarning
from m3rag.model.memo import TextViews, Unit
from m3rag.model.tokenizer import Tokens
from m3rag.progress import Progress

STAGE = "encoding"


@dataclass(eq=False, slots=True)
class EncodingRequest:
    """A request to encode units of texts.

    Attributes:
        units: The units to encode. A row is a position in this list.
        dense: Whether the dense vectors are requested.
        sparse: Whether the term weights are requested.
        colbert: Whether the ColBERT vectors are requested.
        progress: Called with ("encoding", texts done, total) after each unit.
        future: The result.
        views: The views of the units that have them, by row.
        tokenized: The tokens of the units that are tokenised, but not encoded yet, by row.
        next_row: The first row that is neither tokenised nor looked up in the memo.
        vectors: The ColBERT vectors of the first `collected` units.
        collected: The number of units whose ColBERT vectors are in `vectors`.
        failure: The error that ended the request.
        done: The number of texts that have their views.
        total: The number of texts.
    """

    units: list[Unit]
    dense: bool
    sparse: bool
    colbert: bool
    progress: Progress | None = None
    future: Future[Encoding] = field(default_factory=Future)
    views: dict[int, Sequence[TextViews]] = field(default_factory=dict)
    tokenized: dict[int, list[Tokens]] = field(default_factory=dict)
    next_row: int = 0
    vectors: GrowingMultiVectors = field(default_factory=GrowingMultiVectors)
    collected: int = 0
    failure: BaseException | None = None
    done: int = 0
    total: int = field(init=False)

    def __post_init__(self) -> None:
        if not (self.dense or self.sparse or self.colbert):
            raise InputError(
                "Nothing to encode: dense, sparse and colbert are all False. Set one to True."
            )
        self.total = sum(len(unit.texts) for unit in self.units)

    @property
    def texts(self) -> list[str]:
        """All texts, in order."""
        return [text for unit in self.units for text in unit.texts]

    @property
    def text_views(self) -> list[TextViews]:
        """The views of all texts, in order; their ColBERT vectors are in `vectors`."""
        return [views for row in range(len(self.units)) for views in self.views[row]]

    @property
    def finished(self) -> bool:
        """Whether the request is complete, failed or cancelled."""
        complete = len(self.views) == len(self.units)
        return complete or self.failure is not None or self.future.cancelled()

    def add_views(self, row: int, views: Sequence[TextViews]) -> None:
        """Add the views of one unit."""
        self.views[row] = views
        self.done += len(views)
        if self.progress is not None and self.failure is None:
            try:
                self.progress(STAGE, self.done, self.total)
            except BaseException as error:  # raised by the caller's code, so returned to it
                self.failure = error
        self._collect_vectors()

    def _collect_vectors(self) -> None:
        """Move the ColBERT vectors to `vectors`, up to the first unit that has no views yet."""
        while (views := self.views.get(self.collected)) is not None:
            for text in views:
                if self.colbert and text.colbert is not None:
                    self.vectors.append(text.colbert)
            self.views[self.collected] = [text.without_colbert() for text in views]
            self.collected += 1

    def finish(self) -> None:
        """Set the future's result or exception, unless it was cancelled."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            if self.failure is not None:
                raise self.failure
            self.future.set_result(self._encoding())
        except BaseException as error:
            self.future.set_exception(error)

    def empty_encoding(self, dim: int, colbert_dim: int) -> Encoding:
        """Return the encoding of a request without texts, for a model of the given widths."""
        return Encoding(
            n_tokens=np.empty(0, np.int32),
            truncated=np.empty(0, np.bool_),
            dense=np.empty((0, dim), np.float32) if self.dense else None,
            sparse=SparseVectors.from_rows([]) if self.sparse else None,
            colbert=MultiVectors.empty(colbert_dim) if self.colbert else None,
        )

    def _encoding(self) -> Encoding:
        views = self.text_views
        return Encoding(
            n_tokens=np.array([v.n_tokens for v in views], np.int32),
            truncated=np.array([v.total_tokens > v.n_tokens for v in views], np.bool_),
            dense=np.stack([v.dense for v in views]) if self.dense else None,
            sparse=SparseVectors.from_rows([v.sparse for v in views]) if self.sparse else None,
            colbert=self.vectors.complete() if self.colbert else None,
        )


def warn_truncated(encoding: Encoding, request: EncodingRequest) -> Encoding:
    """Warn about texts that were cut, and return the encoding.

    The warning points to the caller of the public method that calls this function.
    """
    if cut := int(encoding.truncated.sum()):
        views = request.text_views
        i = max(encoding.truncated.nonzero()[0].tolist(), key=lambda i: views[i].total_tokens)
        names = TEXT_NAMES.get()
        name = f"text {i}" if names is None else names[i]
        warnings.warn(
            f"{cut} of {len(encoding)} texts {'was' if cut == 1 else 'were'} cut to "
            f"{request.units[0].limit:,} tokens; the longest, {name}, has "
            f"{len(request.texts[i]):,} characters and at least {views[i].total_tokens:,} tokens. "
            "Its end was not encoded: split long texts with m3rag.split, or raise max_length.",
            TruncationWarning,
            stacklevel=3,
        )
    return encoding
