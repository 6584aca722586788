"""A request to encode texts, and the views that are there already."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from m3rag.encoding import Encoding, GrowingMultiVectors, MultiVectors, SparseVectors
from m3rag.errors import InputError, TruncationWarning
from m3rag.model.memo import TextViews, Unit
from m3rag.model.tokenizer import Tokens
from m3rag.progress import Progress

STAGE = "encoding"


@dataclass(eq=False, slots=True)
class EncodingRequest:
    """Units of texts to encode, and where their views gather."""

    units: list[Unit]
    dense: bool
    sparse: bool
    colbert: bool
    progress: Progress | None = None
    future: Future[Encoding] = field(default_factory=Future)
    views: dict[int, Sequence[TextViews]] = field(default_factory=dict)  # by position in units
    ahead: dict[int, list[Tokens]] = field(default_factory=dict)  # tokenised, not yet encoded
    next: int = 0  # first unit not yet looked at
    vectors: GrowingMultiVectors = field(default_factory=GrowingMultiVectors)
    settled: int = 0  # units from the first on whose ColBERT vectors lie there
    failure: BaseException | None = None
    done: int = 0  # texts that have their views
    total: int = field(init=False)  # texts

    def __post_init__(self) -> None:
        if not (self.dense or self.sparse or self.colbert):
            raise InputError("Nothing to encode: dense, sparse and colbert are all False.")
        self.total = sum(len(unit.texts) for unit in self.units)

    @property
    def texts(self) -> list[str]:
        """All texts, in their order."""
        return [text for unit in self.units for text in unit.texts]

    @property
    def gathered(self) -> list[TextViews]:
        """The views of all texts, in their order; the ColBERT vectors are in `vectors`."""
        return [views for row in range(len(self.units)) for views in self.views[row]]

    @property
    def over(self) -> bool:
        """Whether nothing is left to do: complete, failed, or nobody waits any more."""
        complete = len(self.views) == len(self.units)
        return complete or self.failure is not None or self.future.cancelled()

    def give(self, row: int, views: Sequence[TextViews]) -> None:
        """Take in the views of one unit."""
        self.views[row] = views
        self.done += len(views)
        if self.progress is not None and self.failure is None:
            try:
                self.progress(STAGE, self.done, self.total)
            except BaseException as error:  # the caller's own code: the caller's own error
                self.failure = error
        self._settle()

    def _settle(self) -> None:
        """Take the ColBERT vectors out of the views, as far as no unit before them is missing."""
        while (views := self.views.get(self.settled)) is not None:
            for one in views:
                if self.colbert and one.colbert is not None:
                    self.vectors.append(one.colbert)
            self.views[self.settled] = [one.without_colbert() for one in views]
            self.settled += 1

    def finish(self) -> None:
        """Hand the encoding or the error over, unless the caller has gone."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            if self.failure is not None:
                raise self.failure
            self.future.set_result(self._encoding())
        except BaseException as error:
            self.future.set_exception(error)

    def of_nothing(self, dim: int, colbert_dim: int) -> Encoding:
        """Return the encoding of a request without texts, for a model of these widths."""
        return Encoding(
            n_tokens=np.empty(0, np.int32),
            truncated=np.empty(0, np.bool_),
            dense=np.empty((0, dim), np.float32) if self.dense else None,
            sparse=SparseVectors.from_rows([]) if self.sparse else None,
            colbert=MultiVectors.empty(colbert_dim) if self.colbert else None,
        )

    def _encoding(self) -> Encoding:
        views = self.gathered
        return Encoding(
            n_tokens=np.array([v.n_tokens for v in views], np.int32),
            truncated=np.array([v.total_tokens > v.n_tokens for v in views], np.bool_),
            dense=np.stack([v.dense for v in views]) if self.dense else None,
            sparse=SparseVectors.from_rows([v.sparse for v in views]) if self.sparse else None,
            colbert=self.vectors.complete() if self.colbert else None,
        )


def warn_truncated(encoding: Encoding, request: EncodingRequest) -> Encoding:
    """Warn about texts that were cut, and return the encoding; called by what the user calls."""
    if cut := int(encoding.truncated.sum()):
        views = request.gathered
        i = max(encoding.truncated.nonzero()[0].tolist(), key=lambda i: views[i].total_tokens)
        warnings.warn(
            f"{cut} of {len(encoding)} texts cut to {request.units[0].limit:,} tokens; the "
            f"longest, text {i}, has {len(request.texts[i]):,} characters and at least "
            f"{views[i].total_tokens:,} tokens. Its end was not encoded: split long "
            "texts with m3rag.split, or raise max_length.",
            TruncationWarning,
            stacklevel=3,
        )
    return encoding
