"""Passages to points, and questions to plans: where an index uses its model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from m3rag.documents import Passage
from m3rag.errors import InputError
from m3rag.index.plan import Points
from m3rag.model import Encoding
from m3rag.scoring import BM25, Analyzer, Encoder

if TYPE_CHECKING:
    from m3rag.model import Tokenizer


class Model(Encoder, Protocol):
    """What an index needs of a model; `m3rag.M3Model` has it."""

    @property
    def name(self) -> str:
        """What it was loaded by."""
        ...

    @property
    def fingerprint(self) -> str:
        """Equal for equal weights and tokenizer."""
        ...

    @property
    def dim(self) -> int:
        """Width of the dense vectors."""
        ...

    @property
    def colbert_dim(self) -> int:
        """Width of the ColBERT vectors."""
        ...

    @property
    def vocab_size(self) -> int:
        """How many token ids there are."""
        ...

    @property
    def presets(self) -> Mapping[str, Mapping[str, float]]:
        """Weights of its own, by name; they come before `m3rag.scoring.PRESETS`."""
        ...

    async def aencode(
        self,
        texts: Sequence[str],
        *,
        dense: bool = True,
        sparse: bool = True,
        colbert: bool = True,
        max_length: int | None = None,
        documents: Sequence[str | None] | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> Encoding:
        """`encode`, without blocking the event loop."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """What knows where the tokens stand in a text."""
        ...

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of whole texts, special tokens left out."""
        ...

    def token_weights(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """The sparse weight of each content token that is encoded."""
        ...


def points_of(
    passages: Sequence[Passage],
    model: Model,
    *,
    colbert: bool,
    together: bool,
    bm25: BM25,
    analyze: Analyzer,
) -> Points:
    """Encode passages of distinct ids, in one pass.

    Args:
        passages: what to encode.
        model: what encodes.
        colbert: whether to keep the ColBERT vectors.
        together: whether neighbours of one document are read together.
        bm25: its settings.
        analyze: makes the tokens of BM25.

    Raises:
        InputError: the model gave something that is not a number.
    """
    texts = [passage.text for passage in passages]
    documents = [passage.document_id for passage in passages]
    views = model.encode(texts, colbert=colbert, documents=documents if together else None)
    broken = ~np.isfinite(views.dense).all(axis=1)
    if broken.any():
        passage = passages[int(broken.argmax())]
        raise InputError(
            f"The model {model.name!r} gives NaN or infinite vectors, first for passage "
            f"{passage.id!r}: its weights are damaged, or too large for its dtype."
        )
    return Points(
        passages,
        views.dense,
        views.sparse,
        bm25.passages(analyze(texts)),
        views.colbert if colbert else None,
    )


def check_passage(passage: Passage) -> None:
    """Refuse what cannot be kept and given back as it is.

    Raises:
        InputError: text or metadata that is not JSON; it names the passage.
    """
    try:
        texts = (passage.id, passage.text, passage.document_id, *passage.headings)
        json.dumps([texts, passage.metadata], allow_nan=False, ensure_ascii=False).encode()
        _check_keys(passage.metadata)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"Passage {passage.id!r} cannot be stored: {error}. Text must be Unicode, metadata "
            "JSON: strings, finite numbers, booleans, None, lists, and dicts with string keys."
        ) from None


def _check_keys(value: object) -> None:
    """JSON would turn other keys into strings without a word."""
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a key in its metadata is not a string")
        value = list(value.values())
    if isinstance(value, list | tuple):
        for part in value:
            _check_keys(part)
