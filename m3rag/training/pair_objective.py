"""The loss of a cross-encoder: which passage of its group answers a query.

Each query is scored with each passage of its group: the positive and its negatives. With scores s
(FlagEmbedding 1.4.2 has the same loss, without a temperature):

    loss = -log softmax(s)[positive]

A teacher's scores of the group are used as in `m3rag.training.losses`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice

import numpy as np
import torch
from torch import Tensor

from m3rag.model.scoring_network import ScoringNetwork
from m3rag.model.tokenizer import Tokenizer, Tokens
from m3rag.training.batches import contrast
from m3rag.training.example import Group
from m3rag.training.gradients import parts
from m3rag.training.losses import contrastive
from m3rag.training.settings import TrainingSettings


@dataclass(frozen=True, slots=True)
class TokenizedPairs:
    """The tokenized pairs of a group.

    Attributes:
        group: The texts.
        pairs: The tokens of the query with the positive, and with each negative.
    """

    group: Group
    pairs: tuple[Tokens, ...]

    @property
    def tokens(self) -> int:
        """The number of tokens that go through the network."""
        return sum(len(pair.ids) for pair in self.pairs)

    @property
    def cut(self) -> tuple[int, int]:
        """The number of queries and of passages that were cut; a cut pair counts as a passage."""
        return 0, sum(pair.truncated for pair in self.pairs)


class PairObjective:
    """The loss of a cross-encoder on groups of texts."""

    def __init__(
        self,
        network: ScoringNetwork,
        tokenizer: Tokenizer,
        settings: TrainingSettings,
        dtype: torch.dtype,
    ) -> None:
        self._network = network
        self._tokenizer = tokenizer
        self._settings = settings
        self._dtype = dtype

    def tokenize(self, groups: Sequence[Group]) -> list[TokenizedPairs]:
        """Tokenize the pairs of groups, cut to the maximum lengths of the settings."""
        longest = self._settings.max_query_length
        limit = longest + self._settings.max_passage_length
        passages = list(self._passages(groups))
        pairs = [
            (g.query, text) for g, texts in zip(groups, passages, strict=True) for text in texts
        ]
        cut = iter(self._tokenizer.cut_pairs(pairs, limit, longest))
        return [
            TokenizedPairs(group, tuple(next(cut) for _ in texts))
            for group, texts in zip(groups, passages, strict=True)
        ]

    def _passages(self, groups: Sequence[Group]) -> Iterator[list[str]]:
        """Yield the passages of each group, the positive first.

        With in-batch negatives, a group that has too few takes those of the groups after it.
        """
        texts = [text for group in groups for text in group.passages]
        relation = contrast(groups, in_batch=True)
        ends = accumulate(len(group.passages) for group in groups)
        for group, end, excluded in zip(groups, ends, relation.excluded, strict=True):
            own = range(end - len(group.passages), end)
            others = [*range(end, len(texts)), *range(own.start)]
            free = dict.fromkeys(texts[i] for i in others if not excluded[i])
            missing = self._settings.group_size - len(own)
            wanted = missing if self._settings.in_batch_negatives else 0
            yield [*group.passages, *islice(free, max(0, wanted))]

    def backward(self, groups: Sequence[TokenizedPairs], *, distil: bool) -> dict[str, float]:
        """Add the gradients of a batch to the parameters; returns the loss.

        At most `token_budget` tokens are in memory at once, unless one group alone has more. As the
        groups do not see each other, this does not change the gradients.
        """
        total = 0.0
        sizes = [group.tokens for group in groups]
        for part in parts(groups, sizes, self._settings.token_budget):
            share = len(part) / len(groups)
            loss = self._loss(part)
            torch.autograd.backward(share * loss)
            total += share * float(loss.detach())
        return {"loss": total}

    def _loss(self, groups: Sequence[TokenizedPairs]) -> Tensor:
        scores = self._scores([pair.ids for group in groups for pair in group.pairs])
        sizes = torch.tensor([len(group.pairs) for group in groups], device=scores.device)
        real = torch.arange(int(sizes.max()), device=scores.device) < sizes[:, None]  # (n, g)
        logits = scores.new_full(real.shape, torch.finfo(scores.dtype).min)
        logits = logits.masked_scatter(real, scores)
        teacher = None
        if self._settings.teacher != "none":
            given = [group.group.scores for group in groups]
            teacher = torch.tensor(given, device=scores.device)  # (n, g)
        target = torch.zeros(len(groups), dtype=torch.int64, device=scores.device)
        return contrastive(logits, target, ~real, self._settings.loss, teacher)

    def _scores(self, pairs: Sequence[list[int]]) -> Tensor:
        """Return the scores of pairs in any order, `(m,)`; no padding goes through the network."""
        order = np.argsort([len(ids) for ids in pairs], kind="stable")
        device = self._network.device
        enabled = self._dtype != torch.float32
        with torch.autocast(device.type, self._dtype, enabled=enabled):
            hidden, first = self._network.hidden([pairs[i] for i in order])
        scores: Tensor = self._network.classifier(hidden[torch.from_numpy(first).to(device)])
        return scores[torch.from_numpy(np.argsort(order)).to(device)]
