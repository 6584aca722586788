"""What searches and questions have in common: their settings, and hits as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import Field

from m3rag.index import Hit
from m3rag.index.settings import SearchSettings
from m3rag.serve.bodies import Body

_EXPLANATION = 4_000  # numbers of an explanation, about
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

    def numbers(self, hits: int) -> int:
        """Return about how many numbers a response with some hits has."""
        return hits * (_EXPLANATION if self.explain else 1)


def add_explanations(values: Sequence[dict[str, Any]], hits: Sequence[Hit]) -> None:
    """Add the explanation of each hit to its JSON values.

    Args:
        values: The values of the hits, whose passages may have been widened.
        hits: The same hits as they were found: each is explained by its own passage.
    """
    found = {hit.passage.id: hit for hit in hits}
    for one in values:
        one["explanation"] = found[one["passage"]["id"]].explain().to_dict()
