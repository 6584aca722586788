"""Protocols of a model and its tokenizer, as the rest of the package uses them.

`m3rag.M3Model` implements them. You can use any other implementation in its place, such as a
client of a remote model or a test double.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from m3rag.encoding import Encoding
from m3rag.progress import Progress

TEXT_NAMES: ContextVar[Sequence[str] | None] = ContextVar("TEXT_NAMES", default=None)
"""What a warning calls the texts that are being encoded; None for their numbers."""

ON_TRUNCATION: ContextVar[Literal["warn", "refuse", "accept"]] = ContextVar(
    "ON_TRUNCATION", default="warn"
)
"""What happens to a text above the limit of tokens: a warning, an `InputError`, or nothing."""


class Tokenizer(Protocol):
    """A tokenizer that also gives the characters of each token; safe to use from any thread."""

    @property
    def eos(self) -> int:
        """The id of `</s>`."""
        ...

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the content token ids of whole texts, without `<s>` and `</s>`."""
        ...

    def spans(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Return the character span of each content token."""
        ...

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the vocabulary's piece for each token id."""
        ...


class Encoder(Protocol):
    """A model that encodes texts."""

    def encode(
        self,
        texts: Sequence[str],
        *,
        dense: bool = True,
        sparse: bool = True,
        colbert: bool = True,
        max_length: int | None = None,
        documents: Sequence[str | None] | None = None,
        progress: Progress | None = None,
    ) -> Encoding:
        """Encode texts; see `M3Model.encode`."""
        ...


class Model(Encoder, Protocol):
    """An encoder with all that an index needs."""

    @property
    def name(self) -> str:
        """The name that the model was loaded with."""
        ...

    @property
    def fingerprint(self) -> str:
        """A hash that is equal for equal weights and tokenizers."""
        ...

    @property
    def dim(self) -> int:
        """The width of the dense vectors."""
        ...

    @property
    def colbert_dim(self) -> int:
        """The width of the ColBERT vectors."""
        ...

    @property
    def vocab_size(self) -> int:
        """The number of token ids."""
        ...

    @property
    def passage_tokens(self) -> int:
        """The length of passages, in tokens, that suits the model."""
        ...

    @property
    def presets(self) -> Mapping[str, Mapping[str, float]]:
        """The model's own fusion weights by name; they override `m3rag.scoring.PRESETS`."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
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
        progress: Progress | None = None,
    ) -> Encoding:
        """Encode texts without blocking the event loop; see `M3Model.aencode`."""
        ...

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of whole texts, without special tokens."""
        ...

    def token_weights(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return the sparse weight of each encoded content token, `(t - 2,)` per text."""
        ...
