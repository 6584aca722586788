"""Check the arguments of a search.

`parse_request` checks the settings of a search against an index, and `plan_scoring` chooses the
channels that retrieve candidates and the channels that score them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from m3rag.errors import InputError
from m3rag.index.pooling import Query, as_query
from m3rag.index.presets import Preset
from m3rag.index.settings import SearchSettings
from m3rag.limits import DEFAULT_LIMITS, Limits, check_count, check_text, is_number, shown
from m3rag.scoring import FUSIONS, SCORED, Fusion, named_weights, parse_weights
from m3rag.scoring.fusion import RRF_K
from m3rag.scoring.texts import check_query
from m3rag.stores.filters import Filter, parse_filter

CANDIDATES = 100
_LARGEST_K = 1_000_000


@dataclass(frozen=True, slots=True)
class ScoringPlan:
    """The channels that a search uses, and how their scores are fused.

    Attributes:
        weights: The channels in the fused score; all weights are above zero.
        score: The channels that are scored and reported in a hit.
        retrieve: The channels that retrieve candidates.
        fusion: "weighted" or "rrf".
        rrf_k: The constant of "rrf".
    """

    weights: dict[str, float]
    score: tuple[str, ...]
    retrieve: tuple[str, ...]
    fusion: Fusion
    rrf_k: float = RRF_K


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One or more queries with the same checked settings; see `SearchSettings`."""

    queries: tuple[Query, ...]
    k: int
    candidates: int
    where: Filter | None
    plan: ScoringPlan
    balance: str | None = None
    offset: int = 0
    max_per_document: int | None = None
    min_score: float | None = None

    @property
    def texts(self) -> list[str]:
        """The texts of all queries, one after the other."""
        return [text for query in self.queries for text in query.texts]

    @property
    def encoded(self) -> bool:
        """Whether the model must encode the texts; BM25 alone only counts their tokens.

        The model then computes all three views: a query is short, and a reranker that needs the
        other views next finds them in the model's memo.
        """
        return set(self.plan.score) != {"bm25"}


def parse_request(
    queries: Sequence[str | Query],
    k: int,
    settings: SearchSettings,
    available: Sequence[str],
    *,
    colbert: str,
    presets: Mapping[str, Preset],
    limits: Limits = DEFAULT_LIMITS,
) -> SearchRequest:
    """Check a search against an index.

    Args:
        queries: The queries.
        k: The number of hits for each query.
        settings: How to search.
        available: The channels of the index.
        colbert: The index's ColBERT mode.
        presets: The presets of the index and its model.
        limits: The longest query, the highest `k` and `candidates`, and the largest filter.

    Raises:
        InputError: A query is empty, too long or no Unicode string, `k` or `candidates` is out of
            range, or the index cannot serve the filter, channels, weights or balance.
    """
    plan = plan_scoring(settings, available, presets)
    if plan.retrieve == ("colbert",) and colbert != "stored":
        raise InputError(
            'ColBERT alone scores every passage, which needs colbert="stored", but this index '
            f'has colbert={colbert!r}. Add "dense" to the channels.'
        )
    _check_balance(settings.balance, plan, limits)
    if settings.max_per_document is not None:
        check_count("max_per_document", settings.max_per_document, most=limits.results)
    return SearchRequest(
        _checked_queries(queries, limits),
        check_count("k", k, most=limits.results),
        _candidates(k, settings, limits),
        parse_filter(settings.filter, limits),
        plan,
        settings.balance,
        settings.offset,
        settings.max_per_document,
        checked_score(settings.min_score),
    )


def _checked_queries(queries: Sequence[str | Query], limits: Limits) -> tuple[Query, ...]:
    if isinstance(queries, str | Query):
        raise InputError("`queries` is a single query. Pass a list, or use search().")
    if not isinstance(queries, Iterable):
        raise InputError(f"`queries` must be a list of strings, got {shown(queries)}.")
    found = tuple(as_query(query) for query in queries)
    for query in found:
        for text in query.texts:
            check_query(text, limits)
    return found


def _candidates(k: int, settings: SearchSettings, limits: Limits) -> int:
    """Return how many passages each channel retrieves."""
    offset = check_count("offset", settings.offset, least=0, most=limits.results)
    wanted = k + offset
    candidates = settings.candidates
    if candidates is None:
        candidates = max(wanted, min(CANDIDATES, limits.results))
    check_count("candidates", candidates, most=limits.results)
    if candidates < wanted:
        after = f" after an offset of {offset}" if offset else ""
        raise InputError(
            f"candidates={candidates} cannot give k={k} hits{after}. Use candidates={wanted} or "
            "more."
        )
    return candidates


def checked_score(score: object) -> float | None:
    """Return a minimum score; None if there is none.

    Raises:
        InputError: It is not a finite number.
    """
    if score is None:
        return None
    if not is_number(score) or not math.isfinite(score):
        raise InputError(f"`min_score` must be a finite number, got {shown(score)}.")
    return float(score)


def plan_scoring(
    settings: SearchSettings, available: Sequence[str], presets: Mapping[str, Preset]
) -> ScoringPlan:
    """Choose the channels that retrieve, score and count.

    Without `channels`, the channels with a weight above zero are scored. With `channels`, exactly
    those are scored, and a hit reports all of them, even those without a weight.

    * Scored channels with a weight make up the fused score. If none has a weight, each weighs 1.
    * Scored channels with a weight, except colbert, retrieve candidates; ColBERT only reranks
      them. If only colbert has a weight, the other scored channels retrieve. If only colbert is
      scored, it scores every passage of the index, which is exact and slow.

    Presets are weights for scores. Reciprocal rank fusion uses ranks only, so with a preset each
    scored channel weighs 1; weights given as numbers are used as they are. A preset saved by `tune`
    sets its own fusion. Where ColBERT is not scored, the model's preset "no-colbert" replaces one
    that needs it.

    Raises:
        InputError: A channel is unknown or unavailable, or no channel has a weight.
    """
    weights, fusion = settings.weights, settings.fusion
    if not isinstance(fusion, str) or fusion not in FUSIONS:
        raise InputError(f'`fusion` must be "weighted" or "rrf", got {shown(fusion)}.')
    within = available if settings.channels is None else _checked_channels(settings.channels)
    known = named_weights({name: preset.weights for name, preset in presets.items()})
    every = parse_weights(weights, known, within)
    named = isinstance(weights, str)
    preset = presets.get(weights) if isinstance(weights, str) else None
    if preset is not None and preset.fusion == "rrf":
        fusion = "rrf"
    if settings.channels is None:
        score = tuple(c for c in SCORED if every[c] > 0 and (c in available or not named))
        if not score:
            raise InputError(
                f"All weights are zero: {shown(weights)}. Give at least one channel a weight above "
                "0."
            )
    else:
        score = tuple(within)
    missing = [c for c in score if c not in available]
    if missing:
        raise InputError(
            f"This index has no {missing[0]} vectors. Its channels are {', '.join(available)}. "
            f'Leave {missing[0]} out, or index the documents again with colbert="stored".'
        )
    counted = {c: every[c] for c in score if every[c] > 0}
    if not counted or (named and fusion == "rrf"):
        counted = dict.fromkeys(score, 1.0)
    retrieve = [c for c in counted if c != "colbert"] or [c for c in score if c != "colbert"]
    rrf_k = _rrf_k(settings.rrf_k, preset, fusion)
    return ScoringPlan(counted, score, tuple(retrieve) or ("colbert",), fusion, rrf_k)


def _rrf_k(given: object, preset: Preset | None, fusion: str) -> float:
    """Return the constant of reciprocal rank fusion.

    Raises:
        InputError: It is not a number from 0 on, or the scores are not fused by ranks.
    """
    if given is None:
        return preset.k if preset is not None else RRF_K
    if not is_number(given) or not 0 <= given <= _LARGEST_K:
        raise InputError(f"`rrf_k` must be a number from 0 to {_LARGEST_K:,}, got {shown(given)}.")
    if fusion != "rrf":
        raise InputError(
            f'rrf_k={shown(given)} is the constant of fusion="rrf", but the fusion is "weighted". '
            'Leave `rrf_k` out, or pass fusion="rrf".'
        )
    return float(given)


def _checked_channels(channels: Sequence[str]) -> tuple[str, ...]:
    """Return the channels in the order of `SCORED`."""
    if isinstance(channels, str) or not isinstance(channels, Sequence) or not channels:
        raise InputError(
            f'`channels` must be a list such as ["dense", "sparse"], got {shown(channels)}.'
        )
    for channel in channels:
        if not isinstance(channel, str) or channel not in SCORED:
            raise InputError(
                f"Unknown channel {shown(channel)}. The channels are {', '.join(SCORED)}."
            )
    return tuple(c for c in SCORED if c in channels)


def _check_balance(name: object, plan: ScoringPlan, limits: Limits) -> None:
    if name is None:
        return
    if not isinstance(name, str) or not name:
        raise InputError(f'`balance` must be a metadata field such as "lang", got {shown(name)}.')
    check_text("`balance`", name, limits.key_characters, "key_characters")
    if plan.fusion == "rrf":
        raise InputError(
            f"balance={shown(name)} changes scores, but reciprocal rank fusion uses ranks only. "
            'Use fusion="weighted", without weights that were saved for "rrf".'
        )
