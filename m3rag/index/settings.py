"""The settings of a search, declared once.

`M3Index.search`, the retrievers, the command line and the service use this declaration. The module
imports nothing heavy, so that the command line shows its help quickly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, TypedDict, Unpack

if TYPE_CHECKING:
    from m3rag.scoring import Fusion, Weights
    from m3rag.stores.filters import Where


class AnswerOptions(TypedDict, total=False):
    """The fields of `SearchSettings` but `min_score`, which `m3rag.answers.answer` has itself."""

    weights: Weights
    fusion: Fusion
    channels: Sequence[str] | None
    filter: Where
    candidates: int | None
    balance: str | None
    offset: int
    max_per_document: int | None
    rrf_k: float | None


class SearchOptions(AnswerOptions, total=False):
    """The fields of `SearchSettings` as keyword arguments."""

    min_score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """The settings of a search. `M3Index.search` also takes each field as a keyword argument.

    Attributes:
        weights: The name of a preset ("default", "long-document", "cross-lingual", or one saved
            with the index or the model), three or four numbers (dense, sparse, colbert, bm25), or
            a mapping. The fused score is the sum of weight * score divided by the sum of the
            weights. BM25 scores reach 20 and more while the others stay below 1: choose its weight
            accordingly, or use `fusion="rrf"`.
        fusion: "weighted", or "rrf": the sum of weight / (rrf_k + rank).
        channels: The channels to score and report, out of `M3Index.channels`; by default those
            with a weight. See `plan_scoring` for which of them retrieve candidates. `["colbert"]`
            alone scores every passage, which is exact and slow.
        filter: Search only passages that match; see `m3rag.stores.filters`.
        candidates: The number of passages that each retrieving channel contributes, at least `k`;
            by default 100, or `k` if that is larger. Every channel then scores all of them.
        balance: A metadata field, such as "lang". In each channel, the scores of the candidates
            with the same value are shifted and scaled to the mean and standard deviation of all
            candidates before fusion, so that no value has an advantage. The fused score and the
            order change; the channel scores of a hit do not. Works best with many candidates.
        offset: The number of best hits to leave out, for the next page of results.
        max_per_document: The most hits with the same `document_id`; None for any number. There may
            be fewer than `k` hits then: raise `candidates`.
        rrf_k: The constant of "rrf"; by default 60, or that of a saved preset. The lower, the more
            the first ranks count.
        min_score: The lowest fused score of a hit. Its scale depends on the weights and the model:
            see `m3rag tune`.
    """

    weights: Weights = field(
        default="default",
        metadata={
            "help": "Weights of the channels: default, cross-lingual, long-document, a name "
            "saved by tune, or numbers such as 1/0.3/1."
        },
    )
    fusion: Fusion = field(
        default="weighted",
        metadata={
            "help": "How scores are combined: weighted (weighted sum) or rrf (reciprocal rank "
            "fusion)."
        },
    )
    channels: Sequence[str] | None = field(
        default=None,
        metadata={
            "help": "Channels to score, comma-separated: dense, sparse, colbert, bm25. Defaults "
            "to the channels with a weight."
        },
    )
    filter: Where = field(
        default=None,
        metadata={
            "help": "Search only passages that match: key=value, key=a,b (any of the values), "
            'or a JSON filter such as \'{"year": {"gte": 2020}}\'. Repeatable; all '
            "filters must match."
        },
    )
    candidates: int | None = field(
        default=None,
        metadata={
            "help": "Candidates that each channel retrieves, at least -k; every channel then "
            "scores all of them. Defaults to 100, or to -k if that is larger."
        },
    )
    balance: str | None = field(
        default=None,
        metadata={
            "help": "Normalize the scores within each value of this metadata field, such as "
            "lang, so that no value has an advantage."
        },
    )
    offset: int = field(
        default=0, metadata={"help": "Best passages to leave out, for the next page of results."}
    )
    max_per_document: int | None = field(
        default=None,
        metadata={
            "help": "The most passages of the same document. Raise --candidates if fewer than -k "
            "are found."
        },
    )
    rrf_k: float | None = field(
        default=None,
        metadata={
            "help": "The constant of --fusion rrf: the lower, the more the first ranks count. "
            "Defaults to 60, or to that of a saved preset."
        },
    )
    min_score: float | None = field(
        default=None, metadata={"help": "Lowest score of a passage.", "option": None}
    )

    def changed(self, **options: Unpack[SearchOptions]) -> SearchSettings:
        """Return a copy with some fields replaced."""
        return replace(self, **options) if options else self


SETTINGS = tuple(f.name for f in fields(SearchSettings))
"""The names of the settings of a search."""
DEFAULTS = SearchSettings()
