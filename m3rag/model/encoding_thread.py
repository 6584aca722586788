"""The thread that encodes texts into views, with a memo of recent ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import numpy as np

from m3rag.model.backbone import Interrupt
from m3rag.model.encoding_request import EncodingRequest
from m3rag.model.memo import Memo, TextViews, Unit
from m3rag.model.network import M3Network, sparse_rows
from m3rag.model.tokenizer import Tokenizer, Tokens
from m3rag.model.worker import SLICE, NetworkThread, count

_BULK = 1024  # units; the ColBERT vectors of a longer request would displace each other in the memo


class EncodingThread(NetworkThread[EncodingRequest]):
    """Encodes units of texts."""

    load: ClassVar[str] = "M3Model.load"

    def __init__(
        self, network: M3Network, tokenizer: Tokenizer, *, budget: int, memo_bytes: int
    ) -> None:
        self._network = network
        self._tokenizer = tokenizer
        self._memo = Memo(memo_bytes)
        super().__init__(budget)

    def _tokenize_ahead(self, request: EncodingRequest) -> None:
        """Add views from the memo and tokenise other units, until some are ready to be encoded."""
        while not request.tokenized and request.next_row < len(request.units):
            rows = range(request.next_row, min(request.next_row + SLICE, len(request.units)))
            request.next_row = rows.stop
            unknown = []
            for row in rows:
                known = self._memo.get(request.units[row], colbert=request.colbert)
                if known is None:
                    unknown.append(row)
                else:
                    self.memo_hits += 1
                    request.add_views(row, known)
            request.tokenized.update(
                zip(unknown, self._cut([request.units[row] for row in unknown]), strict=True)
            )
            request.refuse_cut(unknown)

    def _cut(self, units: list[Unit]) -> Iterator[list[Tokens]]:
        """Yield the tokens of each unit's texts; all units must have the same settings."""
        if units:
            texts = [text for unit in units for text in unit.texts]
            cut = iter(self._tokenizer.cut(texts, units[0].limit, units[0].mcls))
            yield from ([next(cut) for _ in unit.texts] for unit in units)

    def _compute(
        self, places: Mapping[Unit, list[tuple[EncodingRequest, int]]], interrupt: Interrupt
    ) -> None:
        """Encode each distinct unit of a batch once and add its views to all its requests."""
        groups = []
        for unit, requesters in places.items():
            colbert = any(request.colbert for request, _ in requesters)
            known = self._memo.get(unit, colbert=colbert)
            if known is None:
                request, row = requesters[0]
                groups.append((request.tokenized[row], unit))
            else:  # encoded for another request in the meantime
                self.memo_hits += 1
                _add_views(requesters, known)
        if not groups:
            return
        groups.sort(key=lambda group: count(group[0]))
        colbert = any(request.colbert for pairs in places.values() for request, _ in pairs)
        units = [cuts for cuts, _ in groups]
        encoded = self._forward(units, colbert=colbert, interrupt=interrupt)
        for cuts, unit in groups:
            views = [next(encoded) for _ in cuts]
            bulk = all(len(request.units) > _BULK for request, _ in places[unit])
            self._memo.put(unit, [v.without_colbert() for v in views] if bulk else views)
            _add_views(places[unit], views)

    def _forward(
        self, units: list[list[Tokens]], *, colbert: bool, interrupt: Interrupt
    ) -> Iterator[TextViews]:
        """Run one pass over units ordered by length and yield the views of each text."""
        views = self._network(units, colbert=colbert, interrupt=interrupt)
        cuts = [cut for unit in units for cut in unit]
        self.passes += 1
        self.encoded += len(cuts)
        self.tokens += count(cuts)
        start = specials = 0
        for i, cut in enumerate(cuts):
            end = start + len(cut.ids)
            before, specials = specials, specials + len(cut.cls)
            weights = views.weights[start:end].copy()
            sparse = sparse_rows(np.array(cut.ids), weights, self._tokenizer.unweighted)
            # The ColBERT rows do not include any <s>, neither of this text nor of those before it.
            rows = None if views.colbert is None else views.colbert[start - before : end - specials]
            yield TextViews(
                len(cut.ids),
                cut.total,
                views.dense[i].copy(),
                np.delete(weights, cut.cls[1:]),
                sparse,
                None if rows is None else rows.copy(),
            )
            start = end


def _add_views(places: list[tuple[EncodingRequest, int]], views: Sequence[TextViews]) -> None:
    for request, row in places:
        del request.tokenized[row]
        request.add_views(row, views)
