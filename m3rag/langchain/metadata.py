"""The metadata of search results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ScoredMetadata(dict[str, Any]):
    """Metadata of a search result, with its scores.

    Two search results are equal if they are the same document, whatever their scores: so
    LangChain's `MultiQueryRetriever` returns a document once that several queries find. Compared
    with any other dict, the scores count.
    """

    def __init__(self, metadata: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        super().__init__({**metadata, **scores})
        self.score_keys: set[str] = {*scores}
        if isinstance(metadata, ScoredMetadata):
            self.score_keys |= metadata.score_keys

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ScoredMetadata):
            return self.unscored() == other.unscored()
        return super().__eq__(other)

    __hash__ = None

    def __ne__(self, other: object) -> bool:
        return not self == other

    def unscored(self) -> dict[str, Any]:
        """Return the metadata without the scores."""
        return {key: value for key, value in self.items() if key not in self.score_keys}
