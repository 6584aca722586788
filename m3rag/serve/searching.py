"""What searches and questions have in common: their settings, and hits as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import Field

from m3rag.index import Hit, M3Index
from m3rag.index.settings import SearchSettings
from m3rag.serve.bodies import Body

_HELP = {field.name: field.metadata["help"] for field in fields(SearchSettings)}


class SettingsBody(Body):
    """The settings of `M3Index.search`."""

    k: Annotated[int, Field(ge=1, description="The number of passages.")] = 5
    weights: Annotated[str | dict[str, float], Field(description=_HELP["weights"])] = "default"
    fusion: Annotated[Literal["weighted", "rrf"], Field(description=_HELP["fusion"])] = "weighted"
    channels: Annotated[list[str] | None, Field(description=_HELP["channels"])] = None
    filter: Annotated[
        dict[str, Any] | None,
        Field(description='Search only passages that match, such as {"year": {"gte": 2020}}.'),
    ] = None
    candidates: Annotated[int | None, Field(ge=1, description=_HELP["candidates"])] = None
    balance: Annotated[str | None, Field(description=_HELP["balance"])] = None
    offset: Annotated[int, Field(ge=0, description=_HELP["offset"])] = 0
    max_per_document: Annotated[int | None, Field(ge=1, description=_HELP["max_per_document"])] = (
        None
    )
    rrf_k: Annotated[float | None, Field(description=_HELP["rrf_k"])] = None
    min_score: Annotated[float | None, Field(description=_HELP["min_score"])] = None
    neighbours: Annotated[
        int, Field(ge=0, description="How many passages to add before and after each one.")
    ] = 0
    explain: Annotated[
        bool, Field(description="Say why each passage was found, in its `explanation`.")
    ] = False

    def settings(self) -> SearchSettings:
        """Return the settings of the search."""
        return SearchSettings(**{name: getattr(self, name) for name in _HELP})


def described(
    index: M3Index, hits: Sequence[Hit], *, neighbours: int, explain: bool
) -> list[dict[str, Any]]:
    """Return hits as JSON values.

    Args:
        index: The index that found them.
        hits: The hits.
        neighbours: How many passages to add before and after each one. Hits whose passages then
            overlap become one.
        explain: Whether each has its explanation, which is that of its own passage.
    """
    reasons = {hit.passage.id: hit.explain().to_dict() for hit in hits} if explain else {}
    widened = index.expand(hits, neighbours) if neighbours else hits
    return [
        hit.to_dict() | ({"explanation": reasons[hit.passage.id]} if explain else {})
        for hit in widened
    ]
