"""The server's side of a remote index: its records, its model, and its store.

`m3rag.stores.remote` and `m3rag.model.remote` are the client's side.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from m3rag.encoder import Model
from m3rag.errors import InputError
from m3rag.http.messages import DamagedMessageError, Message, decode, encode
from m3rag.index import M3Index, manifest, presets
from m3rag.limits import shown
from m3rag.model.view_messages import encoding_message, ragged_message
from m3rag.serve.encoding import truncating
from m3rag.stores.base import MANIFEST
from m3rag.stores.remote.answering import WRITES as STORE_WRITES
from m3rag.stores.remote.answering import answer as answer_store
from m3rag.stores.remote.location import RemoteLocation
from m3rag.threads import in_thread

WRITES = ("write_record", *STORE_WRITES)
"""The methods that change the index."""


async def answer(index: M3Index, method: str, content: bytes, *, restricted: bool) -> bytes:
    """Return the answer to a message, as bytes.

    Args:
        index: The index, or the part of it that the caller may use.
        method: The method.
        content: The message with its arguments.
        restricted: Whether it is only a part, so that its presets are not the caller's to change.

    Raises:
        InputError: The message is damaged, or there is no such method.
        StorageError: The store failed.
    """
    body, arrays = await in_thread(_decoded, content)
    match method:
        case "open":
            message: Message = {}, []
        case "read_record":
            message = {"content": _read_record(index, body.get("name"))}, []
        case "write_record":
            await in_thread(_write_record, index, body, restricted)
            message = {}, []
        case "model":
            message = _described(index.model), []
        case "tokenizer":
            message = {}, [np.frombuffer(await in_thread(_tokenizer, index.model), np.uint8)]
        case "encode":
            with truncating(allowed=True):  # the client warns
                encoding = await index.model.aencode(_texts(body), **_options(body))
            return await in_thread(lambda: encode(*encoding_message(encoding)))
        case "token_weights":
            with truncating(allowed=True):
                weights = await in_thread(index.model.token_weights, _texts(body))
            message = ragged_message(weights)
        case _:
            return await in_thread(_stored, index, method, body, arrays)
    return encode(*message)


def _decoded(content: bytes) -> Message:
    try:
        return decode(content)
    except DamagedMessageError as error:
        raise InputError(
            f"The body is no message of m3rag: {error}. Use the same version on both sides."
        ) from None


def _stored(index: M3Index, method: str, body: Mapping[str, Any], arrays: list[Any]) -> bytes:
    widths, limits = index.manifest.widths, index.limits
    store = index.stored.store
    return encode(*answer_store(store, method, body, arrays, widths=widths, limits=limits))


def _read_record(index: M3Index, name: object) -> str | None:
    if name == MANIFEST:
        return manifest.record(index.manifest, RemoteLocation.engine).decode()
    if name == presets.NAME:
        return presets.record(index.presets).decode() if index.presets else None
    raise InputError(f"There is no record {shown(name)}.")


def _write_record(index: M3Index, body: Mapping[str, Any], restricted: bool) -> None:
    """Save the presets of a record; no other one can be written.

    Raises:
        InputError: It is another record, or the caller may use only a part of the index.
    """
    content = body.get("content")
    if body.get("name") != presets.NAME or not isinstance(content, str):
        raise InputError(f"The record {shown(body.get('name'))} cannot be written.")
    if restricted:
        raise InputError("This API key is held to a filter, so it cannot save weights for all.")
    for name, preset in presets.parse_presets(content.encode(), index.stored.location).items():
        if index.presets.get(name) != preset:
            index.save_preset(name, preset)


def _described(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "fingerprint": model.fingerprint,
        "dim": model.dim,
        "colbert_dim": model.colbert_dim,
        "vocab_size": model.vocab_size,
        "max_length": getattr(model, "max_length", 0),
        "passage_tokens": model.passage_tokens,
        "presets": {name: dict(weights) for name, weights in model.presets.items()},
    }


def _tokenizer(model: Model) -> bytes:
    """Return the model's tokenizer.json, compressed.

    Raises:
        InputError: The model has a tokenizer of another kind.
    """
    content = getattr(model.tokenizer, "json", None)
    if not isinstance(content, bytes):
        raise InputError(
            f"The tokenizer of the model {model.name!r} is not a file, so it cannot be sent. Open "
            "the index with the model: M3Index.open(url, model=…)."
        )
    return _compressed(content)


@lru_cache(4)
def _compressed(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


def _texts(body: Mapping[str, Any]) -> list[str]:
    texts = body.get("texts")
    if not isinstance(texts, list):
        raise InputError(f"`texts` must be a list of strings, got {shown(texts)}.")
    return texts  # the model checks each


def _options(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `Model.encode`."""
    views: dict[str, Any] = {
        name: body.get(name) is True for name in ("dense", "sparse", "colbert")
    }
    documents = body.get("documents")
    if documents is not None and not (
        isinstance(documents, list) and all(d is None or isinstance(d, str) for d in documents)
    ):
        raise InputError(f"`documents` must be strings or null, got {shown(documents)}.")
    return views | {"documents": documents, "max_length": body.get("max_length")}
