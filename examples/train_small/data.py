"""Write the training data as files of examples, one for each task of recipe.toml.

translations.jsonl.zst   sentences in up to 6 languages
headings.jsonl.zst       headings and the text below them, in up to 3 languages
questions.jsonl.zst      questions and the paragraph that answers them, in one language
pages.jsonl.zst          a heading, and a page of about 500 tokens with its section
documents.jsonl.zst      a heading, and a document of about 2,000 tokens with its section
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from m3rag.files import json_value, lines, written

Row = dict[str, Any]

# The largest sources would be most of the data; they are thinned out evenly.
TRANSLATIONS = {
    "pydocs": 45_000, "tldr": 26_000, "tfdocs": 20_000, "cppdocs": 15_000, "otel": 12_000,
}  # fmt: skip
HEADINGS = {"cppdocs": 4_000}
LANGUAGES = 5  # of a sentence, beside English
SECTION_LANGUAGES = 3
NEIGHBOURS = 1_024  # paragraphs of a source of questions; neighbours are about the same topic
PAGES = {"pages": (24_000, 500), "documents": (6_000, 2_000)}  # how many, and their tokens


def rows(*files: Path) -> Iterator[Row]:
    """Yield the rows of files of JSON lines."""
    for file in files:
        yield from (json_value(line) for line in lines(file))


def thinned(found: Iterable[Row], limits: dict[str, int], rng: np.random.Generator) -> list[Row]:
    """Return rows in random order, of each source at most its limit."""
    every = list(found)
    seen: Counter[str] = Counter()
    kept = []
    for i in rng.permutation(len(every)).tolist():
        source = every[i]["s"]
        seen[source] += 1
        if seen[source] <= limits.get(source, len(every)):
            kept.append(every[i])
    return kept


def some(languages: Iterable[str], count: int, rng: np.random.Generator) -> list[str]:
    """Return `count` languages in random order, or all if there are fewer."""
    names = list(languages)
    return [names[i] for i in rng.permutation(len(names))[:count]]


def translations(data: Path, rng: np.random.Generator) -> Iterator[Row]:
    """Yield sentences in English, if they exist in it, and in some of their other languages."""
    files = (data / "train/parallel.jsonl.zst", data / "train_bysa/parallel.jsonl.zst")
    for row in thinned(rows(*files), TRANSLATIONS, rng):
        texts = row["t"]
        names = some((name for name in texts if name != "en"), LANGUAGES, rng)
        names = ["en", *names] if "en" in texts else names
        if len(names) > 1:
            yield {"t": {name: texts[name] for name in names}, "source": row["s"]}


def sections(data: Path, rng: np.random.Generator) -> list[Row]:
    """Return sections, with the languages that have both a heading and a text."""
    found = []
    for row in thinned(rows(data / "train/sections.jsonl.zst"), HEADINGS, rng):
        names = [name for name in row["p"] if name in row["q"]]
        if names:
            found.append(
                {
                    "q": {name: row["q"][name] for name in names},
                    "p": {name: row["p"][name] for name in names},
                    "source": row["s"],
                }
            )
    return found


def headings(found: Iterable[Row], rng: np.random.Generator) -> Iterator[Row]:
    """Yield sections with some of their languages."""
    for row in found:
        names = some(row["p"], SECTION_LANGUAGES, rng)
        yield row | {part: {name: row[part][name] for name in names} for part in ("q", "p")}


def questions(data: Path) -> Iterator[Row]:
    """Yield questions. Neighbouring paragraphs are hard to tell apart, so they share a source."""
    seen: Counter[str] = Counter()
    for number, row in enumerate(rows(data / "train_bysa/qa.jsonl.zst")):
        block = seen[row["s"]] // NEIGHBOURS
        seen[row["s"]] += 1
        for question in row["qs"]:
            yield {
                "q": {row["lang"]: question},
                "p": {row["lang"]: row["p"]},
                "key": number,
                "source": f"{row['s']} {block}",
            }


class Section(NamedTuple):
    """A section, and the number of tokens of its text in one language."""

    row: Row
    tokens: int


def shelved(found: Iterable[Row], tokenizer: Tokenizer) -> dict[tuple[str, str], list[Section]]:
    """Return the sections of each source and language."""
    shelves: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in found:
        for name in row["p"]:
            shelves[row["source"], name].append(row)
    counted = {}
    for (source, name), shelf in shelves.items():
        encoded = tokenizer.encode_batch([row["p"][name] for row in shelf])
        counted[source, name] = [
            Section(row, len(each.ids)) for row, each in zip(shelf, encoded, strict=True)
        ]
    return counted


def pages(
    shelves: dict[tuple[str, str], list[Section]], count: int, size: int, rng: np.random.Generator
) -> Iterator[Row]:
    """Yield pages of about `size` tokens: sections of one source in one language.

    The queries are the headings of one of the sections, wherever on the page it is.
    """
    names = sorted(shelves)
    sizes = np.array([len(shelves[name]) for name in names]) ** 0.5
    drawn = rng.choice(len(names), count, p=sizes / sizes.sum())
    for source, language in (names[i] for i in drawn.tolist()):
        shelf = shelves[source, language]
        page, tokens = [], 0
        for i in rng.permutation(len(shelf)).tolist():
            if tokens + shelf[i].tokens <= size:
                page.append(shelf[i].row)
                tokens += shelf[i].tokens
            elif tokens > 0.8 * size:
                break
        if len(page) > 1:
            asked = page[int(rng.integers(len(page)))]
            text = "\n\n".join(row["p"][language] for row in page)
            yield {"q": asked["q"], "p": {language: text}, "source": source}


def write(path: Path, found: Iterable[Row]) -> None:
    """Write examples as JSON lines."""
    count = 0
    with written(path) as file:
        for row in found:
            file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
            count += 1
    print(f"{count:,} examples in {path}", flush=True)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="the folder that holds train/ and train_bysa/")
    parser.add_argument("tokenizer", type=Path, help="XLM-R's tokenizer.json")
    parser.add_argument("folder", type=Path, help="the folder to write")
    args = parser.parse_args()
    rng = np.random.default_rng(7)
    tokenizer = Tokenizer.from_file(str(args.tokenizer))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    write(args.folder / "translations.jsonl.zst", translations(args.data, rng))
    found = sections(args.data, rng)
    write(args.folder / "headings.jsonl.zst", headings(found, rng))
    write(args.folder / "questions.jsonl.zst", questions(args.data))
    shelves = shelved(found, tokenizer)
    for name, (count, size) in PAGES.items():
        write(args.folder / f"{name}.jsonl.zst", pages(shelves, count, size, rng))


if __name__ == "__main__":
    main()
