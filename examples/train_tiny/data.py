"""Tokenize the training files once into flat arrays, which every later step reads.

A *text* is a row of the pool. A *group* is a run of neighbouring texts that say the same thing in
several languages: parallel sentences, the lemmas of a concept, or the headings and the passages of
a section.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from reading import LEXICON, PARALLEL, QUESTIONS, SECTIONS, rows
from tokenizers import Tokenizer

GROUPS_PER_SOURCE = 20_000  # cppdocs alone has 110,000 of the 322,000 groups
SECTIONS_PER_SOURCE = 3_000
MAX_CHARS = 1_600
MAX_TOKENS = 510
NAMES = "names"  # the source name of concepts that are names
UNSPACED = {"zh", "zh-tw", "ja", "th"}

Ints = NDArray[np.int64]


@dataclass
class Pool:
    """All training texts as arrays.

    Attributes:
        ids: Token ids of all texts, end to end, without `<s>` and `</s>`.
        starts: First token of each text, and the end of the last, `(texts + 1,)`.
        langs: Language number of each text, `(texts,)`.
        lang_names: Language codes, `(languages,)`.
        source_names: Source names, `(sources,)`.
        parallel: Groups of translations, `(n, 3)`: first text, end, source.
        sections: Sections, `(n, 4)`: first heading, first passage, end, source.
        questions: Questions, `(n, 4)`: first question, their paragraph, paragraph + 1, source.
        lexicon: Concepts, `(n, 3)`: first lemma, end, source.
        word_start: True for pieces that begin a word, `(vocab,)`.
        question_mark: Ids of the pieces that are a question mark.
    """

    ids: NDArray[np.uint16]
    starts: Ints
    langs: NDArray[np.uint8]
    lang_names: NDArray[np.str_]
    source_names: NDArray[np.str_]
    parallel: Ints
    sections: Ints
    questions: Ints
    lexicon: Ints
    word_start: NDArray[np.bool_]
    question_mark: Ints

    def text(self, index: int) -> NDArray[np.uint16]:
        """Return the token ids of one text."""
        return self.ids[self.starts[index] : self.starts[index + 1]]

    def save(self, path: Path) -> None:
        """Write the arrays to one `.npz` file."""
        np.savez(path, **{f.name: getattr(self, f.name) for f in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Pool:
        """Read a file that `save` wrote."""
        with np.load(path, allow_pickle=False) as saved:
            return cls(**{f.name: saved[f.name] for f in fields(cls)})


class Builder:
    """Collects texts and groups, and tokenizes them in large batches."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.waiting: list[str] = []
        self.pieces: list[NDArray[np.uint16]] = []
        self.lengths: list[int] = []
        self.langs: list[int] = []
        self.lang_number: dict[str, int] = {}
        self.source_number: dict[str, int] = {}

    def source(self, name: str) -> int:
        """Return the number of a source; a new source gets the next one."""
        return self.source_number.setdefault(name, len(self.source_number))

    def add(self, items: Iterable[tuple[str, str]]) -> int:
        """Add `(language, text)` items and return the number of texts so far."""
        for lang, text in items:
            self.langs.append(self.lang_number.setdefault(lang, len(self.lang_number)))
            self.waiting.append(text[:MAX_CHARS])
        if len(self.waiting) > 20_000:
            self.flush()
        return len(self.langs)

    def flush(self) -> None:
        """Tokenize the texts that are waiting."""
        for encoding in self.tokenizer.encode_batch_fast(self.waiting, add_special_tokens=False):
            ids = encoding.ids[:MAX_TOKENS]
            self.lengths.append(len(ids))
            self.pieces.append(np.array(ids, dtype=np.uint16))
        self.waiting.clear()

    def pool(self, groups: dict[str, list[tuple[int, ...]]]) -> Pool:
        """Return all texts and groups as arrays."""
        self.flush()
        vocab = self.tokenizer.get_vocab()
        word_start = np.zeros(len(vocab), dtype=np.bool_)
        word_start[[i for piece, i in vocab.items() if piece.startswith("▁")]] = True
        return Pool(
            ids=np.concatenate(self.pieces),
            starts=np.concatenate([[0], np.cumsum(self.lengths)]),
            langs=np.array(self.langs, dtype=np.uint8),
            lang_names=np.array(list(self.lang_number)),
            source_names=np.array(list(self.source_number)),
            word_start=word_start,
            question_mark=np.array(
                [vocab[mark] for mark in ("?", "▁?", "؟", "▁؟") if mark in vocab]
            ),
            **{name: np.array(group, dtype=np.int64) for name, group in groups.items()},
        )


def capped(data: Path, names: Iterable[str], limit: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of the files; a source with more than `limit` rows is thinned out evenly.

    Runs of 64 rows are kept or dropped as a whole, so neighbouring rows stay together.
    """
    counts: dict[str, int] = {}
    for name in names:
        for row in rows(data / name):
            counts[row["s"]] = counts.get(row["s"], 0) + 1
    seen: dict[str, int] = {}
    for name in names:
        for row in rows(data / name):
            source, position = row["s"], seen.get(row["s"], 0)
            seen[source] = position + 1
            one_of = max(1, -(-counts[source] // limit))
            if (position // 64) % one_of == 0:
                yield row


def lemma_items(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the lemmas of a concept, without the word boundaries marked in unspaced scripts."""
    for lang, lemmas in row["w"].items():
        for lemma in lemmas:
            yield lang, lemma.replace(" ", "") if lang in UNSPACED else lemma.replace("_", " ")


def build(data: Path, names: Path, tokenizer: Tokenizer) -> Pool:
    """Read and tokenize all files."""
    out = Builder(tokenizer)
    groups: dict[str, list[tuple[int, ...]]] = {
        "parallel": [],
        "sections": [],
        "questions": [],
        "lexicon": [],
    }
    for row in capped(data, PARALLEL, GROUPS_PER_SOURCE):
        first = len(out.langs)
        groups["parallel"].append((first, out.add(row["t"].items()), out.source(row["s"])))
    for row in capped(data, SECTIONS, SECTIONS_PER_SOURCE):
        first = len(out.langs)
        middle = out.add(row["q"].items())
        groups["sections"].append((first, middle, out.add(row["p"].items()), out.source(row["s"])))
    for row in capped(data, QUESTIONS, GROUPS_PER_SOURCE):
        first = len(out.langs)
        middle = out.add((row["lang"], question) for question in row["qs"])
        end = out.add([(row["lang"], row["p"])])
        groups["questions"].append((first, middle, end, out.source(row["s"])))
    for row in capped(data, LEXICON, 100_000):
        first = len(out.langs)
        groups["lexicon"].append((first, out.add(lemma_items(row)), out.source("lexicon")))
    for row in rows(names):
        first = len(out.langs)
        groups["lexicon"].append((first, out.add(lemma_items(row)), out.source(NAMES)))
    return out.pool(groups)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="the folder that holds train/ and train_bysa/")
    parser.add_argument("names", type=Path, help="the file that names.py wrote")
    parser.add_argument("tokenizer", type=Path, help="the pruned tokenizer.json")
    parser.add_argument("output", type=Path, help="the .npz file to write")
    args = parser.parse_args()
    pool = build(args.data, args.names, Tokenizer.from_file(str(args.tokenizer)))
    pool.save(args.output)
    print(f"{len(pool.langs):,} texts, {len(pool.ids):,} tokens, {len(pool.lang_names)} languages")


if __name__ == "__main__":
    main()
