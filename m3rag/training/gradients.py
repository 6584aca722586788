"""From groups of texts to gradients: tokens, views, scores, loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import repeat
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from m3rag.model.network import M3Network
from m3rag.model.tokenizer import Tokenizer, Tokens
from m3rag.training.batches import contrast
from m3rag.training.example import Group
from m3rag.training.gradient_cache import cached_backward
from m3rag.training.losses import m3_loss, off_centre
from m3rag.training.settings import TrainingSettings
from m3rag.training.similarity import colbert_scores, dense_scores, sparse_scores
from m3rag.training.teacher import VectorTeacher, unit_vectors
from m3rag.training.trainable import Views, encode, joined

Ids = list[int]
Vector = NDArray[np.float32]
_NO_VECTOR: Vector = np.empty(0, np.float32)
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Tokenized:
    """A tokenized group.

    Attributes:
        group: The texts.
        query: The tokens of the query.
        passages: The tokens of the passages.
        query_vector: A teacher's unit vector of the query, `(d,)`; empty without a teacher.
        passage_vectors: Those of the passages.
    """

    group: Group
    query: Tokens
    passages: tuple[Tokens, ...]
    query_vector: Vector
    passage_vectors: tuple[Vector, ...]

    @property
    def tokens(self) -> int:
        """The number of tokens that go through the network."""
        return len(self.query.ids) + sum(len(passage.ids) for passage in self.passages)

    @property
    def cut(self) -> tuple[int, int]:
        """The number of queries and of passages that were cut."""
        return int(self.query.truncated), sum(passage.truncated for passage in self.passages)


class ViewObjective:
    """The M3 loss of a network on groups of texts."""

    def __init__(
        self,
        network: M3Network,
        tokenizer: Tokenizer,
        settings: TrainingSettings,
        dtype: torch.dtype,
        teacher: VectorTeacher | None = None,
    ) -> None:
        self._network = network
        self._teacher = teacher if settings.teacher_vectors_weight else None
        self._tokenizer = tokenizer
        self._settings = settings
        self._dtype = dtype
        self._device = network.device

    def tokenize(self, groups: Sequence[Group]) -> list[Tokenized]:
        """Tokenize groups, cut to the maximum lengths of the settings."""
        cut = self._tokenizer.cut
        queries = cut([group.query for group in groups], self._settings.max_query_length)
        texts = [text for group in groups for text in group.passages]
        passages = iter(cut(texts, self._settings.max_passage_length))
        query_vectors, passage_vectors = self._teach([group.query for group in groups], texts)
        return [
            Tokenized(
                group,
                query,
                tuple(next(passages) for _ in group.passages),
                next(query_vectors),
                tuple(next(passage_vectors) for _ in group.passages),
            )
            for group, query in zip(groups, queries, strict=True)
        ]

    def _teach(
        self, queries: list[str], passages: list[str]
    ) -> tuple[Iterator[Vector], Iterator[Vector]]:
        """Return the teacher's vectors of each query and each passage; empty without a teacher."""
        if self._teacher is None:
            return repeat(_NO_VECTOR), repeat(_NO_VECTOR)
        teacher = self._teacher
        encode = teacher.queries if self._settings.symmetric else teacher.passages
        return (
            iter(unit_vectors(teacher.queries(queries), len(queries))),
            iter(unit_vectors(encode(passages), len(passages))),
        )

    def backward(self, groups: Sequence[Tokenized], *, distil: bool) -> dict[str, float]:
        """Add the gradients of a batch to the parameters; returns the loss and its parts.

        At most `token_budget` tokens are in memory at once, unless one group or text alone has
        more.
        """
        budget = self._settings.token_budget
        if sum(group.tokens for group in groups) <= budget:
            return _floats(self._backward(groups, distil=distil))
        if self._settings.gradient_cache:
            return _floats(self._cached(groups, distil=distil))
        total: dict[str, float] = {}
        for part in parts(groups, [group.tokens for group in groups], budget):
            share = len(part) / len(groups)
            losses = _floats(self._backward(part, distil=distil, scale=share))
            for name, value in losses.items():
                total[name] = total.get(name, 0.0) + share * value
        return total

    def _backward(
        self, groups: Sequence[Tokenized], *, distil: bool, scale: float = 1.0
    ) -> dict[str, Tensor]:
        queries = self._encode([group.query.ids for group in groups])
        passages = self._encode([passage.ids for group in groups for passage in group.passages])
        losses = self._loss(groups, queries, passages, distil=distil)
        torch.autograd.backward(scale * losses["loss"])
        return losses

    def _cached(self, groups: Sequence[Tokenized], *, distil: bool) -> dict[str, Tensor]:
        """Add the same gradients with the activations of only some texts in memory at a time."""
        budget = self._settings.token_budget
        queries = [group.query.ids for group in groups]
        passages = [passage.ids for group in groups for passage in group.passages]
        chunks, orders, query_chunks = [], [], 0
        for texts in (queries, passages):
            order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
            sizes = [len(texts[i]) for i in order]
            chunks += [[texts[i] for i in part] for part in parts(order, sizes, budget)]
            orders.append(torch.tensor(order, device=self._device).argsort())
            query_chunks = query_chunks or len(chunks)

        def loss(views: list[tuple[Tensor, ...]]) -> dict[str, Tensor]:
            sides = views[:query_chunks], views[query_chunks:]
            queries, passages = (
                Views(
                    *(view[order] for view in joined([Views(*v) for v in side], self._network.pad))
                )
                for side, order in zip(sides, orders, strict=True)
            )
            return self._loss(groups, queries, passages, distil=distil)

        return cached_backward(self._encode, chunks, loss)

    def _encode(self, texts: Sequence[Ids]) -> Views:
        with self._autocast():
            return encode(self._network, texts, self._tokenizer.unweighted)

    def _autocast(self) -> AbstractContextManager[None]:
        return torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32)

    def _loss(
        self, groups: Sequence[Tokenized], queries: Views, passages: Views, *, distil: bool
    ) -> dict[str, Tensor]:
        scores = {
            "dense": dense_scores(queries.dense, passages.dense),
            "sparse": sparse_scores(queries.ids, queries.weights, passages.ids, passages.weights),
            "colbert": colbert_scores(
                queries.colbert, queries.mask, passages.colbert, passages.mask
            ),
        }  # each (n, m)
        plain = [group.group for group in groups]
        relation = contrast(plain, in_batch=self._settings.in_batch_negatives)
        teacher = None
        if self._settings.teacher != "none":
            teacher = torch.tensor([group.scores for group in plain], device=self._device)  # (n, g)
        losses = m3_loss(
            scores,
            torch.from_numpy(relation.target).to(self._device),
            self._settings.loss,
            excluded=torch.from_numpy(relation.excluded).to(self._device),
            teacher_scores=teacher,
            vector_scores=self._vector_scores(groups),
            distil=distil,
        )
        if weight := self._settings.centre_weight:
            losses["centre"] = off_centre(queries.dense, passages.dense)
            losses["loss"] = losses["loss"] + weight * losses["centre"]
        return losses

    def _vector_scores(self, groups: Sequence[Tokenized]) -> Tensor | None:
        """Return the scores `(n, m)` of the teacher's vectors; None without a teacher."""
        if self._teacher is None:
            return None
        queries = np.stack([group.query_vector for group in groups])  # (n, d)
        passages = np.stack([row for group in groups for row in group.passage_vectors])  # (m, d)
        return dense_scores(
            *(torch.from_numpy(side).to(self._device) for side in (queries, passages))
        )


def parts(items: Sequence[Item], sizes: Sequence[int], budget: int) -> Iterator[list[Item]]:
    """Yield runs whose sizes add up to at most `budget`; a larger item is a run of its own."""
    part: list[Item] = []
    total = 0
    for item, size in zip(items, sizes, strict=True):
        if part and total + size > budget:
            yield part
            part, total = [], 0
        part.append(item)
        total += size
    if part:
        yield part


def _floats(losses: dict[str, Tensor]) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in losses.items()}
