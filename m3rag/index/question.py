"""A search's arguments, checked, and the pure steps between model, store and hits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from m3rag.documents import Passage
from m3rag.errors import InputError
from m3rag.index.filters import Filter, parse_filter
from m3rag.index.plan import Candidates, QueryPlan
from m3rag.index.presets import Preset
from m3rag.index.recipe import Recipe, choose
from m3rag.model import Encoding, SparseVectors
from m3rag.scoring import Weights, balanced, reciprocal_rank_fusion, weighted_sum

CANDIDATES = 100

Where = Mapping[str, Any] | Filter | None


class Settings(TypedDict, total=False):
    """The keyword arguments of `M3Index.search`."""

    weights: Weights
    fusion: str
    channels: Sequence[str] | None
    filter: Where
    candidates: int | None
    balance: str | None


@dataclass(frozen=True, slots=True)
class Question:
    """One or more texts that are asked for with the same settings."""

    texts: tuple[str, ...]
    k: int
    candidates: int
    where: Filter | None
    recipe: Recipe
    balance: str | None = None

    @property
    def encoded(self) -> bool:
        """Whether the model has to encode the texts: BM25 only counts their tokens.

        All views are asked for then, whatever is scored: a query is short, and a reranker that asks
        for the others next finds them in the model's memo.
        """
        return set(self.recipe.scored) != {"bm25"}


def ask(
    texts: Sequence[str],
    k: int,
    available: Sequence[str],
    *,
    colbert: str,
    presets: Mapping[str, Preset],
    weights: Weights = "default",
    fusion: str = "weighted",
    channels: Sequence[str] | None = None,
    filter: Where = None,
    candidates: int | None = None,
    balance: str | None = None,
) -> Question:
    """Check a search's arguments against an index with these channels and presets.

    Raises:
        InputError: an empty or non-string query, k or candidates out of range, a bad filter,
            channels or weights that this index cannot serve, or a balance that is no field or
            goes with ranks.
    """
    recipe = choose(weights, fusion, channels, available, presets)
    if recipe.proposing == ("colbert",) and colbert != "stored":
        raise InputError(
            'colbert alone compares with every passage, which needs colbert="stored"; this '
            f'index has {colbert!r}. Add "dense" to the channels.'
        )
    if isinstance(texts, str):
        raise InputError("queries is one string; pass a list, or use search().")
    for text in texts:
        if not isinstance(text, str):
            raise InputError(f"A query must be a string, got {type(text).__name__}.")
        if not text.strip():
            raise InputError(f"The query is empty ({text!r}). Ask something.")
    _check_count("k", k)
    if candidates is None:
        candidates = max(CANDIDATES, k)
    _check_count("candidates", candidates)
    if candidates < k:
        raise InputError(
            f"candidates={candidates} cannot give k={k} hits: use candidates={k} or more."
        )
    _check_balance(balance, recipe)
    return Question(tuple(texts), k, candidates, parse_filter(filter), recipe, balance)


def plans(
    question: Question,
    views: Encoding | None,
    bm25: SparseVectors | None,
    computed: frozenset[str],
) -> list[QueryPlan]:
    """What to ask the store, a plan for each text; channels in `computed` are left out."""
    scored = tuple(c for c in question.recipe.scored if c not in computed)
    return [
        QueryPlan(
            retrieve=question.recipe.proposing,
            score=scored,
            candidates=question.candidates,
            where=question.where,
            dense=views.dense[i] if views is not None and "dense" in scored else None,
            sparse=views.sparse[i] if views is not None and "sparse" in scored else None,
            colbert=_float32(views.colbert[i])
            if views is not None and "colbert" in scored
            else None,
            bm25=None if bm25 is None else bm25[i],
        )
        for i in range(len(question.texts))
    ]


def balance(
    found: Candidates, recipe: Recipe, passages: Sequence[Passage | None], name: str
) -> Candidates:
    """The candidates with scores that favour no value of a field of the metadata.

    Only channels that count are changed: see `m3rag.scoring.balanced`. Passages without the field
    are a group of their own.

    Args:
        found: n candidates.
        recipe: how they will be ranked.
        passages: n of them; None for one that is gone.
        name: the field.
    """
    values = [None if p is None else p.metadata.get(name) for p in passages]
    groups = np.array([json.dumps(value, sort_keys=True) for value in values], np.str_)
    counted = {c: balanced(found.scores[c], groups) for c in recipe.weights}
    return Candidates(found.ids, {**found.scores, **counted})


def rank(found: Candidates, recipe: Recipe) -> tuple[list[int], NDArray[np.float32]]:
    """The candidates' positions, best first, and their fused scores.

    Equal scores are in the order of their ids, in every store.
    """
    if recipe.fusion == "weighted":
        fused = weighted_sum(found.scores, recipe.weights)
    else:
        fused = reciprocal_rank_fusion(found.scores, recipe.weights, k=recipe.k)
    return sorted(range(len(fused)), key=lambda i: (-fused[i], found.ids[i])), fused


def _float32(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.ascontiguousarray(vectors, np.float32)


def _check_balance(name: object, recipe: Recipe) -> None:
    if name is None:
        return
    if not isinstance(name, str) or not name:
        raise InputError(f'balance names a field of the metadata, such as "lang", got {name!r}.')
    if recipe.fusion == "rrf":
        raise InputError(
            f'balance={name!r} changes scores, which ranks do not see: use fusion="weighted" with '
            "weights of scores."
        )


def _check_count(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} must be a whole number of at least 1, got {value!r}.")
