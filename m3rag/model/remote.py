"""A model that encodes on a server, and the messages in which views travel.

The tokenizer is a file of the model. It is fetched once, when it is first needed, and runs here.
"""

from __future__ import annotations

import tempfile
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from m3rag.encoder import TEXT_NAMES
from m3rag.encoding import Encoding, MultiVectors, SparseVectors
from m3rag.errors import InputError, TruncationWarning
from m3rag.http.client import Server
from m3rag.http.messages import Message
from m3rag.http.received import Received
from m3rag.limits import shown
from m3rag.model.grouping import check_text
from m3rag.model.tokenizer import Tokenizer
from m3rag.model.view_messages import received_encoding, received_ragged
from m3rag.progress import Progress
from m3rag.threads import in_thread

_TEXTS = 64  # of a message, so that none takes long
_CHARACTERS = 1 << 20  # of a message; one text alone may have more


class RemoteModel:
    """The model of an index behind a server, with the methods of `m3rag.encoder.Model`.

    Args:
        server: The client of the server.

    Raises:
        StorageError: The server cannot be reached, or does not describe a model.

    Attributes:
        name: The name with which the server loaded it.
        fingerprint: A hash that is equal for equal weights and tokenizers.
        dim: The width of the dense vectors.
        colbert_dim: The width of the ColBERT vectors.
        vocab_size: The number of token ids.
        max_length: The most tokens to encode of a text, including `<s>` and `</s>`.
        passage_tokens: The length of passages, in tokens, that suits it.
        presets: Its own fusion weights by name.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        body, _ = server.call("model")
        with server.understood():
            self.name = str(body["name"])
            self.fingerprint = str(body["fingerprint"])
            self.dim = int(body["dim"])
            self.colbert_dim = int(body["colbert_dim"])
            self.vocab_size = int(body["vocab_size"])
            self.max_length = int(body["max_length"])
            self.passage_tokens = int(body["passage_tokens"])
            self.presets: Mapping[str, Mapping[str, float]] = dict(body["presets"])
        self._fetching = threading.Lock()
        self._fetched: Tokenizer | None = None

    def __repr__(self) -> str:
        return f"RemoteModel({self.name!r}, dim={self.dim}, {self._server.url!r})"

    def __reduce__(self) -> tuple[Callable[[str], RemoteModel], tuple[str]]:
        return remote_model, (self._server.url,)

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, which runs in this process; safe to use from any thread."""
        with self._fetching:
            if self._fetched is None:
                self._fetched = self._fetch()
            return self._fetched

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
        """Encode texts on the server; see `M3Model.encode`.

        Many texts take several requests, and `progress` is called after each, from this thread.

        Raises:
            InputError: As for `M3Model.encode`.
            StorageError: The server cannot be reached, is too slow, or failed.

        Warns:
            TruncationWarning: A text has more tokens than the limit.
        """
        options = {"dense": dense, "sparse": sparse, "colbert": colbert, "max_length": max_length}
        encoding = self._encoded(_checked(texts), options, documents, progress)
        if encoding.truncated.any():
            _warn(encoding, texts, self.max_length if max_length is None else max_length)
        return encoding

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
        """Run `encode` in a thread."""
        encode = partial(self.encode, dense=dense, sparse=sparse, colbert=colbert)
        return await in_thread(
            encode, texts, max_length=max_length, documents=documents, progress=progress
        )

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of whole texts without special tokens, as counted by BM25."""
        return self.tokenizer.ids(texts)

    def token_weights(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Return the sparse weight of each encoded content token, `(t - 2,)` per text."""
        texts = _checked(texts)
        found: list[NDArray[np.float32]] = []
        for start, end in _parts(texts, None):
            part = texts[start:end]
            message = self._call("token_weights", {"texts": part})
            with self._server.understood():
                found += received_ragged(message, len(part))
        return found

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the vocabulary's piece for each token id; "▁" marks the start of a word."""
        return self.tokenizer.tokens(ids)

    def _encoded(
        self,
        texts: Sequence[str],
        options: Mapping[str, Any],
        documents: Sequence[str | None] | None,
        progress: Progress | None,
    ) -> Encoding:
        names = None if documents is None else [*documents]
        if names is not None and len(names) != len(texts):
            raise InputError(
                f"`documents` must have one document, or None, for each of the {len(texts):,} "
                f"texts, got {len(names):,}."
            )
        found: list[Encoding] = []
        for start, end in _parts(texts, names) or [(0, 0)]:
            body = {**options, "texts": texts[start:end]}
            if names is not None:
                body["documents"] = names[start:end]
            message, n = self._call("encode", body), end - start
            with self._server.understood():
                found.append(
                    received_encoding(message, n, dim=self.dim, colbert_dim=self.colbert_dim)
                )
            if progress is not None and end:
                progress("encoding", end, len(texts))
        return _joined(found)

    def _call(self, method: str, body: dict[str, Any]) -> Message:
        return self._server.call(method, body)

    def _fetch(self) -> Tokenizer:
        """Return the model's tokenizer, checked like that of any folder.

        Raises:
            CheckpointError: The server's is none.
            StorageError: The server cannot be reached.
        """
        _, arrays = self._call("tokenizer", {})
        with self._server.understood():
            packed = Received(arrays).next("tokenizer", "u1")
        with tempfile.TemporaryDirectory(prefix="m3rag-tokenizer-") as folder:
            path = Path(folder) / "tokenizer.json"
            path.with_name("tokenizer.json.gz").write_bytes(packed.tobytes())
            return Tokenizer(path)


def remote_model(url: str) -> RemoteModel:
    """Return the model of an index behind a server; the key is that of the environment."""
    return RemoteModel(Server(url))


def _checked(texts: Sequence[str]) -> list[str]:
    """Return texts as a list.

    Raises:
        InputError: They are no sequence of strings.
    """
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise InputError(f"`texts` must be a list of strings, got {shown(texts)}.")
    texts = list(texts)
    for i, text in enumerate(texts):
        check_text(f"texts[{i}]", text)
    return texts


def _parts(texts: Sequence[str], documents: Sequence[str | None] | None) -> list[tuple[int, int]]:
    """Return the texts of each message as `(start, end)`; none ends within a document."""
    parts: list[tuple[int, int]] = []
    start = size = 0
    for i, text in enumerate(texts):
        full = i - start >= _TEXTS or size + len(text) > _CHARACTERS
        name = None if documents is None else documents[i]
        inside = name is not None and documents is not None and name == documents[i - 1]
        if i > start and full and not inside:
            parts.append((start, i))
            start, size = i, 0
        size += len(text)
    return [*parts, (start, len(texts))] if texts else []


def _joined(parts: Sequence[Encoding]) -> Encoding:
    """Return encodings of the same views, one after the other, as one."""
    if len(parts) == 1:
        return parts[0]
    views: dict[str, Any] = {}
    if "dense" in parts[0].channels:
        views["dense"] = np.concatenate([part.dense for part in parts])
    if "sparse" in parts[0].channels:
        rows = [part.sparse.rows(i) for part in parts for i in range(len(part))]
        views["sparse"] = SparseVectors.from_rows(rows)
    if "colbert" in parts[0].channels:
        views["colbert"] = MultiVectors.from_rows([one for part in parts for one in part.colbert])
    return Encoding(
        n_tokens=np.concatenate([part.n_tokens for part in parts]),
        truncated=np.concatenate([part.truncated for part in parts]),
        **views,
    )


def _warn(encoding: Encoding, texts: Sequence[str], limit: int) -> None:
    """Warn about texts that were cut, for the caller of the method that calls this one."""
    cut = encoding.truncated.nonzero()[0].tolist()
    i = max(cut, key=lambda i: len(texts[i]))
    names = TEXT_NAMES.get()
    warnings.warn(
        f"{len(cut)} of {len(encoding)} texts {'was' if len(cut) == 1 else 'were'} cut to "
        f"{limit:,} tokens; the longest, {f'text {i}' if names is None else names[i]}, has "
        f"{len(texts[i]):,} characters. Its end was not encoded: split long texts with "
        "m3rag.split, or raise max_length.",
        TruncationWarning,
        stacklevel=3,
    )
