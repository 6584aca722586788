"""What somebody wants encoded, and what of it is there already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from m3rag.model.encoding import Encoding, GrowingMultiVectors, SparseVectors
from m3rag.model.memo import TextViews, Unit
from m3rag.model.tokenizer import Tokens

Progress = Callable[[int], object]


@dataclass(eq=False, slots=True)
class Request:
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
        if self.progress is not None and self.failure is None:
            try:
                self.progress(len(views))
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

    def _encoding(self) -> Encoding:
        views = self.gathered
        return Encoding(
            n_tokens=np.array([v.n_tokens for v in views], np.int32),
            truncated=np.array([v.total_tokens > v.n_tokens for v in views], np.bool_),
            dense=np.stack([v.dense for v in views]) if self.dense else None,
            sparse=SparseVectors.from_rows([v.sparse for v in views]) if self.sparse else None,
            colbert=self.vectors.complete() if self.colbert else None,
        )
