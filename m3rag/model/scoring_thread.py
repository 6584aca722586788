"""The thread that scores pairs of texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from m3rag.model.backbone import Interrupt
from m3rag.model.scoring_network import ScoringNetwork
from m3rag.model.scoring_request import Pair, PairScore, ScoringRequest
from m3rag.model.tokenizer import Tokenizer
from m3rag.model.worker import SLICE, NetworkThread, count


class ScoringThread(NetworkThread[ScoringRequest]):
    """Scores pairs."""

    load: ClassVar[str] = "M3CrossEncoder.load"

    def __init__(self, network: ScoringNetwork, tokenizer: Tokenizer, *, budget: int) -> None:
        self._network = network
        self._tokenizer = tokenizer
        super().__init__(budget)

    def _tokenize_ahead(self, request: ScoringRequest) -> None:
        """Tokenise pairs, until some are ready to be scored."""
        if request.tokenized or request.next_row == len(request.units):
            return
        rows = range(request.next_row, min(request.next_row + SLICE, len(request.units)))
        request.next_row = rows.stop
        pairs = [(request.units[row].query, request.units[row].passage) for row in rows]
        limit = request.units[0].limit
        cut = self._tokenizer.cut_pairs(pairs, limit, query_limit(limit))
        request.tokenized.update((row, [tokens]) for row, tokens in zip(rows, cut, strict=True))

    def _compute(
        self, places: Mapping[Pair, list[tuple[ScoringRequest, int]]], interrupt: Interrupt
    ) -> None:
        """Score each distinct pair of a batch once and add its score to all its requests."""
        groups = [
            (first.tokenized[row], [(first, row), *more]) for (first, row), *more in places.values()
        ]
        groups.sort(key=lambda group: len(group[0][0].ids))
        scores = self._network([cut for cut, _ in groups], interrupt=interrupt).tolist()
        self.passes += 1
        self.encoded += len(groups)
        self.tokens += sum(count(cut) for cut, _ in groups)
        for ([tokens], requesters), score in zip(groups, scores, strict=True):
            for request, row in requesters:
                del request.tokenized[row]
                request.add_score(row, PairScore(score, len(tokens.ids), tokens.total))


def query_limit(limit: int) -> int:
    """Return the most tokens of a query: three quarters of a pair, as in FlagEmbedding."""
    return limit * 3 // 4
