"""A request to encode texts, with the views that it has so far."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar

import numpy as np

from m3rag.encoder import ON_TRUNCATION, TEXT_NAMES
from m3rag.encoding import Encoding, GrowingMultiVectors, MultiVectors, SparseVectors
from m3rag.errors import InputError, TruncationWarning
from m3rag.model.memo import TextViews, Unit
from m3rag.model.request import Request


@dataclass(eq=False, slots=True)
class EncodingRequest(Request[Unit, Encoding]):
    """A request to encode units of texts.

    Attributes:
        dense: Whether the dense vectors are requested.
        sparse: Whether the term weights are requested.
        colbert: Whether the ColBERT vectors are requested.
        views: The views of the units that have them, by row.
        vectors: The ColBERT vectors of the first `collected` units.
        collected: The number of units whose ColBERT vectors are in `vectors`.
        on_truncation: What happens to a text that has to be cut; see `ON_TRUNCATION`.
    """

    stage: ClassVar[str] = "encoding"

    dense: bool
    sparse: bool
    colbert: bool
    _: KW_ONLY
    views: dict[int, Sequence[TextViews]] = field(default_factory=dict)
    vectors: GrowingMultiVectors = field(default_factory=GrowingMultiVectors)
    collected: int = 0
    on_truncation: str = field(default_factory=ON_TRUNCATION.get)

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

    def refuse_cut(self, rows: Iterable[int]) -> None:
        """Fail before the tokenised units of `rows` are encoded, if one of them may not be cut."""
        if self.on_truncation != "refuse":
            return
        for row in rows:
            for text, tokens in zip(self.units[row].texts, self.tokenized[row], strict=True):
                if tokens.truncated:
                    self.failure = self._refusal(self.texts.index(text), tokens.total)
                    return

    def add_views(self, row: int, views: Sequence[TextViews]) -> None:
        """Add the views of one unit."""
        self.views[row] = views
        self.count(len(views))
        self._collect_vectors()

    def _collect_vectors(self) -> None:
        """Move the ColBERT vectors to `vectors`, up to the first unit that has no views yet."""
        while (views := self.views.get(self.collected)) is not None:
            for text in views:
                if self.colbert and text.colbert is not None:
                    self.vectors.append(text.colbert)
            self.views[self.collected] = [text.without_colbert() for text in views]
            self.collected += 1

    def empty_encoding(self, dim: int, colbert_dim: int) -> Encoding:
        """Return the encoding of a request without texts, for a model of the given widths."""
        return Encoding(
            n_tokens=np.empty(0, np.int32),
            truncated=np.empty(0, np.bool_),
            dense=np.empty((0, dim), np.float32) if self.dense else None,
            sparse=SparseVectors.from_rows([]) if self.sparse else None,
            colbert=MultiVectors.empty(colbert_dim) if self.colbert else None,
        )

    def result(self) -> Encoding:
        """Return the encoding of a complete request."""
        views = self.text_views
        return Encoding(
            n_tokens=np.array([v.n_tokens for v in views], np.int32),
            truncated=np.array([v.total_tokens > v.n_tokens for v in views], np.bool_),
            dense=np.stack([v.dense for v in views]) if self.dense else None,
            sparse=SparseVectors.from_rows([v.sparse for v in views]) if self.sparse else None,
            colbert=self.vectors.complete() if self.colbert else None,
        )

    def warned(self, encoding: Encoding) -> Encoding:
        """Warn about texts that were cut, and return the encoding.

        The warning points to the caller of the public method that calls this one.

        Raises:
            InputError: A text was cut, and `ON_TRUNCATION` says to refuse that.
        """
        cut = int(encoding.truncated.sum())
        if not cut or self.on_truncation == "accept":
            return encoding
        views = self.text_views
        i = max(encoding.truncated.nonzero()[0].tolist(), key=lambda i: views[i].total_tokens)
        if self.on_truncation == "refuse":  # encoded before, for a request that may be cut
            raise self._refusal(i, views[i].total_tokens)
        names = TEXT_NAMES.get()
        name = f"text {i}" if names is None else names[i]
        warnings.warn(
            f"{cut} of {len(encoding)} texts {'was' if cut == 1 else 'were'} cut to "
            f"{self.units[0].limit:,} tokens; the longest, {name}, has "
            f"{len(self.texts[i]):,} characters and at least {views[i].total_tokens:,} tokens. "
            "Its end was not encoded: split long texts with m3rag.split, or raise max_length.",
            TruncationWarning,
            stacklevel=3,
        )
        return encoding

    def _refusal(self, i: int, tokens: int) -> InputError:
        """Return the error for a text that has too many tokens."""
        return InputError(
            f"Text {i} has {len(self.texts[i]):,} characters and at least {tokens:,} tokens, and "
            f"the limit is {self.units[0].limit:,} tokens. Split it, or allow to truncate it."
        )
