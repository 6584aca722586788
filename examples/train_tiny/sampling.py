"""Draw training pairs: a query, the passage that answers it, and a key of their subject.

Pairs are drawn in blocks. A block has one task and one source, and half of the time one passage
language. So the other passages of the block are hard negatives: neither topic nor language gives
the answer away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from data import NAMES, Ints, Pool
from numpy.typing import NDArray
from torch import Tensor

Tokens = NDArray[np.uint16]
Draw = tuple[Tokens, Tokens, int] | None

HELD_OUT_RUN = 64  # rows; neighbours are alike, so whole runs are held out, 1 of 32
HELD_OUT_EVERY = 32
LANG_POWER = -0.4  # 16 times fewer texts: drawn 3 times more often than a language's share
SOURCE_POWER = 0.4
GENERAL = {
    "tico19": 4.0,
    "pud": 4.0,
    "tatoeba": 2.0,
    "mozilla": 1.5,
    "qald": 2.0,
    "bitcoinorg": 1.5,
    "cppdocs": 0.4,
    "pydocs": 0.6,
}
NAMES_SHARE = 0.35  # of the blocks of words consist of names only …
NAMES_LEAST = 100  # … if the two languages share at least so many
WINDOW = 8  # the most sentences that are joined into a passage


@dataclass(frozen=True)
class Pair:
    """Token ids without special tokens; pairs with equal keys are no negatives of each other."""

    query: Tokens
    passage: Tokens
    key: int


def is_held_out(rows: Ints) -> NDArray[np.bool_]:
    """Return which row numbers belong to the held-out slice."""
    return np.asarray((rows // HELD_OUT_RUN) % HELD_OUT_EVERY == 7)


class Sampler:
    """Draws blocks of pairs from a pool."""

    def __init__(self, pool: Pool, seed: int, *, held_out: bool = False) -> None:
        self.pool = pool
        self.rng = np.random.default_rng(seed)
        self.parallel = self._by_source(pool.parallel, held_out)
        self.sections = self._by_source(pool.sections, held_out)
        self.questions = self._by_source(pool.questions, held_out)
        concepts = np.arange(len(pool.lexicon))
        self.concepts = pool.lexicon[is_held_out(concepts) == held_out]
        count = np.bincount(pool.langs, minlength=len(pool.lang_names)).astype(float)
        self.lang_weight = np.maximum(count, 1_000.0) ** LANG_POWER
        self.openings = self._question_openings()
        self._prepare_lexicon()
        self.tasks: Mapping[str, Callable[[int], list[Pair]]] = {
            "translation": self.translation,
            "heading": self.heading,
            "cloze": self.cloze,
            "needle": self.needle,
            "question": self.question,
            "words": self.words,
        }

    # set-up

    def _by_source(self, table: Ints, held_out: bool) -> tuple[list[Ints], NDArray[np.float64]]:
        """Return the rows of a table by source, and the probability of each source."""
        rows = np.arange(len(table))
        table = table[is_held_out(rows) == held_out]
        parts = [table[table[:, -1] == source] for source in np.unique(table[:, -1])]
        names = [str(self.pool.source_names[part[0, -1]]) for part in parts]
        weight = np.array(
            [
                len(p) ** SOURCE_POWER * GENERAL.get(n, 1.0)
                for p, n in zip(parts, names, strict=True)
            ]
        )
        return parts, weight / weight.sum()

    def _question_openings(self) -> dict[int, list[Tokens]]:
        """Return the first tokens of texts that end in a question mark, per language."""
        pool, openings = self.pool, dict[int, list[Tokens]]()
        ends = pool.ids[np.maximum(pool.starts[1:] - 1, 0)]
        for index in np.flatnonzero(np.isin(ends, pool.question_mark)):
            text = pool.text(int(index))
            if 4 < len(text) < 60:
                openings.setdefault(int(pool.langs[index]), []).append(text[:4])
        return openings

    def _prepare_lexicon(self) -> None:
        """Record which concept has lemmas in which language."""
        langs = len(self.pool.lang_names)
        self.has = np.zeros((len(self.concepts), langs), dtype=np.bool_)
        for row, (first, end, _) in enumerate(self.concepts):
            self.has[row, self.pool.langs[first:end]] = True
        together = self.has.T.astype(np.float32) @ self.has.astype(np.float32)  # (langs, langs)
        np.fill_diagonal(together, together.diagonal() * 0.02)
        weight = np.where(together >= 500, together**0.5, 0.0)
        self.lang_pairs = (weight / weight.sum()).ravel()
        self.shared: dict[int, Ints] = {}
        names = np.flatnonzero(self.pool.source_names == NAMES)
        self.is_name = np.isin(self.concepts[:, 2], names)

    # drawing

    def _source_rows(self, table: tuple[list[Ints], NDArray[np.float64]], n: int) -> Ints:
        """Draw `n` rows of one source, or fewer from a small source."""
        parts, weight = table
        part = parts[self.rng.choice(len(parts), p=weight)]
        return part[self.rng.permutation(len(part))[:n]]

    def _pick(
        self, first: int, end: int, *, lang: int | None = None, other_than: int | None = None
    ) -> int | None:
        """Draw a text of `first … end`.

        Args:
            first: The first text of the group.
            end: The end of the group.
            lang: The language to prefer; without a text in it, any language is drawn.
            other_than: A language to exclude.

        Returns:
            The number of the text; None if there is none.
        """
        langs = self.pool.langs[first:end]
        if lang is not None and (found := np.flatnonzero(langs == lang)).size:
            return first + int(found[self.rng.integers(found.size)])
        weight = self.lang_weight[langs]
        if other_than is not None:
            weight = weight * (langs != other_than)
        total = weight.cumsum()
        if not len(total) or total[-1] == 0:
            return None
        return first + int(total.searchsorted(self.rng.random() * total[-1], side="right"))

    def _block_lang(self) -> int | None:
        """Return the passage language of a block, or None for any."""
        return int(self.rng.integers(len(self.lang_weight))) if self.rng.random() < 0.5 else None

    def _fragment(self, tokens: Tokens, lang: int) -> Tokens:
        """Cut a few words from a text, drop some and sometimes turn the rest into a question."""
        length = int(self.rng.integers(3, 20))
        start = int(self.rng.integers(max(1, len(tokens) - length + 1)))
        begins = np.flatnonzero(self.pool.word_start[tokens[start : start + 5]])
        start += int(begins[0]) if begins.size else 0
        cut = tokens[start : start + length]
        cut = cut[self.rng.random(len(cut)) > 0.1]
        openings = self.openings.get(lang)
        if openings and self.rng.random() < 0.4:
            opening = openings[self.rng.integers(len(openings))][: self.rng.integers(1, 4)]
            mark = self.pool.question_mark[:1].astype(np.uint16)
            cut = np.concatenate([opening, cut, mark])
        return cut

    def translation(self, n: int) -> list[Pair]:
        """Draw sentences and their translations."""
        target, pairs = self._block_lang(), []
        for first, end, _ in self._source_rows(self.parallel, n):
            passage = self._pick(first, end, lang=target)
            query = (
                self._pick(first, end, other_than=int(self.pool.langs[passage]))
                if passage is not None
                else None
            )
            if query is not None and passage is not None:
                pairs.append(Pair(self.pool.text(query), self.pool.text(passage), int(first)))
        return pairs

    def heading(self, n: int) -> list[Pair]:
        """Draw headings of sections and their passages, in the same language or another."""
        target, pairs = self._block_lang(), []
        for first, middle, end, _ in self._source_rows(self.sections, n):
            passage = self._pick(middle, end, lang=target)
            if passage is None:
                continue
            same = int(self.pool.langs[passage]) if self.rng.random() < 0.3 else None
            query = self._pick(first, middle, lang=same)
            if query is not None:
                pairs.append(Pair(self.pool.text(query), self.pool.text(passage), int(first)))
        return pairs

    def cloze(self, n: int) -> list[Pair]:
        """Draw a few words of a passage and the passage itself, mostly in another language."""
        target, pairs = self._block_lang(), []
        for first, middle, end, _ in self._source_rows(self.sections, n):
            passage = self._pick(middle, end, lang=target)
            if passage is None:
                continue
            same = int(self.pool.langs[passage]) if self.rng.random() < 0.25 else None
            origin = self._pick(middle, end, lang=same)
            if origin is not None and len(self.pool.text(origin)) > 12:
                query = self._fragment(self.pool.text(origin), int(self.pool.langs[origin]))
                pairs.append(Pair(query, self.pool.text(passage), int(first)))
        return pairs

    def needle(self, n: int) -> list[Pair]:
        """Draw a few words of a sentence and its surroundings, mostly in another language."""
        target, pairs = self._block_lang(), []
        parts, weight = self.parallel
        part = parts[self.rng.choice(len(parts), p=weight)]
        size = int(self.rng.integers(3, WINDOW + 1))
        for window in self.rng.permutation(max(1, len(part) // size))[:n]:
            pair = self._needle(part[window * size : (window + 1) * size], target)
            if pair is not None:
                pairs.append(pair)
        return pairs

    def _needle(self, groups: Ints, target: int | None) -> Pair | None:
        """Make one pair of `needle` from neighbouring groups."""
        sample = self._pick(int(groups[0, 0]), int(groups[0, 1]), lang=target)
        if sample is None:
            return None
        lang = int(self.pool.langs[sample])
        members = [
            (first, end, int(found[0]) + first)
            for first, end, _ in groups
            if (found := np.flatnonzero(self.pool.langs[first:end] == lang)).size
        ]
        first, end, own = members[self.rng.integers(len(members))]
        same = self.rng.random() < 0.25
        query = own if same else self._pick(int(first), int(end), other_than=lang)
        if query is None:
            return None
        passage = np.concatenate([self.pool.text(text) for _, _, text in members])
        return Pair(
            self._fragment(self.pool.text(query), int(self.pool.langs[query])),
            passage,
            int(groups[0, 0]),
        )

    def question(self, n: int) -> list[Pair]:
        """Draw human questions and their paragraphs, in the same language."""
        pairs = []
        for first, middle, _, _ in self._source_rows(self.questions, n):
            query = int(self.rng.integers(first, middle))
            pairs.append(Pair(self.pool.text(query), self.pool.text(int(middle)), int(first)))
        return pairs

    def words(self, n: int) -> list[Pair]:
        """Draw a few concepts in one language, and in another one, shuffled and among others."""
        languages = len(self.lang_weight)
        pair = int(self.rng.choice(len(self.lang_pairs), p=self.lang_pairs))
        mine, theirs = divmod(pair, languages)
        if pair not in self.shared:
            self.shared[pair] = np.flatnonzero(self.has[:, mine] & self.has[:, theirs])
        shared, pairs = self.shared[pair], []
        names = shared[self.is_name[shared]]
        if len(names) >= NAMES_LEAST and self.rng.random() < NAMES_SHARE:
            shared = names
        among = self.rng.random() < 0.4
        for _ in range(n):
            chosen = shared[self.rng.integers(len(shared), size=self.rng.integers(1, 7))]
            others = shared[
                self.rng.integers(len(shared), size=self.rng.integers(5, 25) if among else 0)
            ]
            query = self._lemmas(chosen, mine)
            passage = self._lemmas(self.rng.permutation(np.concatenate([chosen, others])), theirs)
            pairs.append(Pair(query, passage, -1 - int(chosen[0])))
        return pairs

    def _lemmas(self, concepts: Ints, lang: int) -> Tokens:
        """Return one lemma of each concept in a language, in order."""
        lemmas = []
        for first, end, _ in self.concepts[concepts]:
            lemma = self._pick(int(first), int(end), lang=lang)
            if lemma is not None:
                lemmas.append(self.pool.text(lemma))
        return np.concatenate(lemmas)

    def batch(self, size: int, block: int, shares: Mapping[str, float]) -> list[Pair]:
        """Draw `size` pairs in blocks of about `block`, with tasks in the given shares."""
        names, weight = list(shares), np.array(list(shares.values()))
        pairs: list[Pair] = []
        while len(pairs) < size:
            task = names[self.rng.choice(len(names), p=weight / weight.sum())]
            pairs += [
                pair for pair in self.tasks[task](block) if len(pair.query) and len(pair.passage)
            ]
        return pairs[:size]

    def stream(self, size: int, block: int, shares: Mapping[str, float]) -> Iterator[list[Pair]]:
        """Yield batches forever."""
        while True:
            yield self.batch(size, block, shares)


def same_key(pairs: list[Pair]) -> Tensor:
    """Return a mask `(n, n)`, True where two different pairs have the same key."""
    keys = torch.tensor([pair.key for pair in pairs])
    return (keys[:, None] == keys).fill_diagonal_(False)
