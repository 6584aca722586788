"""Refuse arguments that a class does not have, and name the nearest that it has."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from difflib import SequenceMatcher
from functools import wraps
from typing import ParamSpec, TypeVar

from m3rag.errors import ArgumentError
from m3rag.limits import shown

P = ParamSpec("P")
T = TypeVar("T")

_TYPO = 0.8  # the similarity from which a name is a slip of the pen
_ALIKE = 0.6  # the lowest similarity that is worth a question

_SAME = (
    {"k", "top_k", "topk", "similarity_top_k", "n_results", "num_results", "limit", "top_n"},
    {"chunk_size", "max_tokens", "chunk_tokens", "max_chunk_size", "tokens_per_chunk"},
    {"chunk_overlap", "overlap"},
    {
        "model", "model_name", "model_id", "model_name_or_path", "embedding", "embeddings",
        "embedding_function", "embedding_model", "embed_model",
    },
    {
        "path", "persist_directory", "persist_dir", "persist_path", "folder", "folder_path",
        "location", "uri", "url", "db_path",
    },
    {"index", "store", "vectorstore", "vector_store"},
    {"filter", "filters", "where", "pre_filter"},
    {"max_length", "max_seq_length", "model_max_length"},
    {"min_score", "score_threshold", "similarity_cutoff", "threshold", "cutoff"},
    {"weights", "alpha", "retriever_weights"},
    {"scores", "scores_in_metadata", "with_scores", "score_key"},
    {"progress", "show_progress", "show_progress_bar"},
    {"batch_size", "embed_batch_size"},
)  # fmt: skip
"""Names of the same thing in m3rag and in the classes that its users come from."""

_INSTRUCTIONS = (
    "BGE-M3 was trained without instructions; they would change all its views. If your own model "
    "was trained with them, put them into its texts and queries."
)

_ELSEWHERE = {
    "batch_size": "The model packs texts into passes by their tokens; there is no size to set.",
    "embed_batch_size": "The model packs texts into passes by their tokens.",
    "cache_folder": "Models are in the cache of the Hugging Face hub: set HF_HUB_CACHE.",
    "device": 'Pass a model: model=M3Model.load(name, device="cuda").',
    "model_kwargs": "Pass a model: model=M3Model.load(name, device=…, dtype=…).",
    "encode_kwargs": "Dense vectors are always normalized. Pass max_length itself.",
    "collection_name": "An index has one collection. Use a path for each.",
    "id_key": "Documents are identified by their ids.",
    "query_instruction": _INSTRUCTIONS,
    "query_instruction_for_retrieval": _INSTRUCTIONS,
    "query_prompt": _INSTRUCTIONS,
    "query_prefix": _INSTRUCTIONS,
    "instruction": _INSTRUCTIONS,
    "text_instruction": _INSTRUCTIONS,
    "document_instruction": _INSTRUCTIONS,
    "embed_instruction": _INSTRUCTIONS,
    "prompts": _INSTRUCTIONS,
}
"""What to do instead, for arguments of other classes that no class of m3rag has."""


def check_names(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Check that a class or a function has all arguments that a call gives it.

    Args:
        what: The class or function, to begin a sentence with.
        given: The names of the call's arguments.
        known: The names that it has.

    Raises:
        ArgumentError: It does not have one; the message names the nearest that it has.
    """
    known = tuple(known)
    for name in given:
        if name not in known:
            raise ArgumentError(_refusal(what, name, known))


def names_of(function: Callable[..., object]) -> tuple[str, ...]:
    """Return the names that a function takes as keywords, without `self` and `**kwargs`."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(function).parameters.values()
    return tuple(p.name for p in parameters if p.kind in kinds and p.name not in ("self", "cls"))


def refusing(function: Callable[P, T]) -> Callable[P, T]:
    """Return a function that refuses a wrong call with an `ArgumentError`.

    A decorator for constructors and methods that have all their arguments in their signature.
    """
    signature = inspect.signature(function)
    known = names_of(function)
    what = function.__qualname__.removesuffix(".__init__")

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        check_names(what, kwargs, known)
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:  # too many, or one is missing
            message = str(error)
            raise ArgumentError(
                f"{what}: {message}. Its arguments are {', '.join(known)}."
            ) from None
        return function(*args, **kwargs)

    return call


def _refusal(what: str, name: str, known: tuple[str, ...]) -> str:
    advice = ""
    if near := _nearest(name, known):
        advice = f" Did you mean `{near}`?"
    elif name in _ELSEWHERE:
        advice = f" {_ELSEWHERE[name]}"
    names = f" Its arguments are {', '.join(known)}." if known else " It has none."
    return f"{what} has no argument `{shown(name)[1:-1]}`.{advice}{names}"


def _nearest(name: str, known: tuple[str, ...]) -> str | None:
    """Return the known name that is spelled alike, or else means the same."""
    alike = {other: SequenceMatcher(None, name.lower(), other).ratio() for other in known}
    best = max(known, key=alike.__getitem__, default=None)
    if best is not None and alike[best] >= _TYPO:
        return best
    for group in _SAME:
        if name in group:
            return next((other for other in known if other in group), None)
    return best if best is not None and alike[best] >= _ALIKE and name not in _ELSEWHERE else None
