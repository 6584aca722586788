"""Read the training files, which hold zstandard-compressed JSON lines."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard

PARALLEL = ("train/parallel.jsonl.zst", "train_bysa/parallel.jsonl.zst")
SECTIONS = ("train/sections.jsonl.zst",)
QUESTIONS = ("train_bysa/qa.jsonl.zst",)
LEXICON = ("train_bysa/lexicon.jsonl.zst",)
FILES = PARALLEL + SECTIONS + QUESTIONS + LEXICON


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON rows of a `.jsonl` or `.jsonl.zst` file."""
    with path.open("rb") as raw:
        stream = raw if path.suffix == ".jsonl" else zstandard.ZstdDecompressor().stream_reader(raw)
        for line in io.TextIOWrapper(stream, encoding="utf-8"):
            if line.strip():
                yield json.loads(line)


def texts(data: Path) -> Iterator[tuple[str, str, str]]:
    """Yield `(source, language, text)` for every text of every training file."""
    for name in PARALLEL:
        for row in rows(data / name):
            for lang, text in row["t"].items():
                yield row["s"], lang, text
    for name in SECTIONS:
        for row in rows(data / name):
            for lang, text in (*row["q"].items(), *row["p"].items()):
                yield "sections/" + row["s"], lang, text
    for name in QUESTIONS:
        for row in rows(data / name):
            for text in (*row["qs"], row["p"]):
                yield row["s"], row["lang"], text
    for name in LEXICON:
        for row in rows(data / name):
            for lang, lemmas in row["w"].items():
                for lemma in lemmas:
                    yield "lexicon", lang, lemma
