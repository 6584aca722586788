"""The arguments of the vector store that need more than a look at their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.embeddings import Embeddings

from m3rag.errors import ArgumentError, InputError
from m3rag.frameworks import ModelLike, check_names
from m3rag.index.manifest import ColbertMode
from m3rag.index.settings import SETTINGS
from m3rag.langchain.embeddings import M3Embeddings
from m3rag.limits import shown
from m3rag.scoring import Weights

BY_VECTOR = ("candidates", "offset", "max_per_document", "min_score")
"""The names of the settings of a search by vector, besides the filter."""

_RETRIEVER = ("search_type", "search_kwargs", "tags", "metadata", "name")
_SEARCH = ("k", *SETTINGS, "score_threshold", "fetch_k", "lambda_mult")


def check_retriever(settings: Mapping[str, Any]) -> None:
    """Check the arguments of `as_retriever`, some of which LangChain ignores if they are wrong.

    Raises:
        ArgumentError: An argument, or a key of `search_kwargs`, does not exist.
    """
    what = "M3VectorStore.as_retriever"
    for name, value in settings.items():
        if name not in _RETRIEVER and name in _SEARCH:
            raise ArgumentError(
                f"{what} takes `{name}` in search_kwargs: search_kwargs={{{name!r}: "
                f"{shown(value)}}}."
            )
    check_names(what, settings, _RETRIEVER)
    check_names(f"search_kwargs of {what}", settings.get("search_kwargs") or {}, _SEARCH)


def new_colbert(weights: Weights) -> ColbertMode:
    """Return the ColBERT mode of a new index: what a search with these weights needs."""
    if isinstance(weights, str):
        return "stored"
    if isinstance(weights, Mapping):
        return "stored" if weights.get("colbert") else "off"
    return "stored" if isinstance(weights, Sequence) and any(weights[2:3]) else "off"


def model_of_embedding(embedding: Embeddings | None, model: ModelLike) -> ModelLike:
    """Return the model of a store that is given embeddings, as LangChain's stores are.

    Raises:
        InputError: The embeddings are not those of an M3 model, or a model is given too.
    """
    if embedding is None:
        return model
    base = getattr(embedding, "base_embeddings", embedding)  # of a HypotheticalDocumentEmbedder
    if not isinstance(base, M3Embeddings):
        raise InputError(
            "M3VectorStore encodes with an M3 model. Pass M3Embeddings(model) or model=…, not "
            f"{type(embedding).__name__}."
        )
    if model is not None:
        raise InputError("`embedding` has a model already. Leave `model` out.")
    return base.model
