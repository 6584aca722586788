"""Prune the XLM-R vocabulary to the pieces that the training texts use.

The normalizer, pre-tokenizer and post-processor stay as they are. Ids 0 to 3 remain `<s> <pad> </s>
<unk>`, and `<mask>` remains the last id, so the small tokenizer differs from XLM-R's only in size.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from reading import texts
from tokenizers import Tokenizer

SPECIALS = 4  # <s> <pad> </s> <unk>
CHARS_PER_SOURCE = 250_000  # in each language, so that no large source dominates
CHARS_OF_LEXICON = 1_000_000
LETTER_BLOCKS = (
    (0x20, 0x180),
    (0x370, 0x530),
    (0x5D0, 0x5EB),
    (0x600, 0x6FF),
    (0x900, 0x980),
    (0xE00, 0xE60),
    (0x1EA0, 0x1F00),
    (0x2010, 0x2030),
    (0x3000, 0x3100),
)


def sample(data: Path) -> dict[str, list[str]]:
    """Return texts by language, at most so many characters of each source in each language."""
    chosen: dict[str, list[str]] = defaultdict(list)
    used: Counter[tuple[str, str]] = Counter()
    for source, lang, text in texts(data):
        limit = CHARS_OF_LEXICON if source == "lexicon" else CHARS_PER_SOURCE
        if used[lang, source] < limit:
            used[lang, source] += len(text)
            chosen[lang].append(text)
    return chosen


def usage(
    tokenizer: Tokenizer, chosen: dict[str, list[str]]
) -> tuple[dict[int, float], Counter[str]]:
    """Count pieces and characters.

    Returns:
        Piece id -> occurrences per million pieces, summed over the languages; and character ->
        occurrences.
    """
    pieces: dict[int, float] = defaultdict(float)
    chars: Counter[str] = Counter()
    for lines in chosen.values():
        here: Counter[int] = Counter()
        for encoding in tokenizer.encode_batch_fast(lines, add_special_tokens=False):
            here.update(encoding.ids)
        total = sum(here.values())
        for piece, count in here.items():
            pieces[piece] += 1e6 * count / total
        for line in lines:
            chars.update(tokenizer.normalizer.normalize_str(line))
    return pieces, chars


def keep(
    vocab: list[tuple[str, float]], pieces: dict[int, float], chars: Counter[str], size: int
) -> list[int]:
    """Return the ids to keep: specials, letters, frequent characters, then the most used pieces."""

    def wanted(char: str) -> bool:
        block = any(low <= ord(char) < high for low, high in LETTER_BLOCKS)
        return chars[char] >= (1 if block else 12)

    last = len(vocab) - 1
    kept = {*range(SPECIALS), last}
    kept |= {
        i
        for i, (piece, _) in enumerate(vocab)
        if len(piece) == 1 and (piece == "▁" or wanted(piece))
    }
    for most_used in sorted(pieces, key=lambda number: pieces[number], reverse=True):
        if len(kept) >= size:
            break
        kept.add(most_used)
    return sorted(kept)


def prune(source: dict[str, Any], kept: list[int]) -> dict[str, Any]:
    """Return the contents of tokenizer.json with only the kept pieces, renumbered in order."""
    new = {old: i for i, old in enumerate(kept)}
    vocab = source["model"]["vocab"]
    source["model"]["vocab"] = [vocab[old] for old in kept]
    for token in source["added_tokens"]:
        token["id"] = new[token["id"]]
    return source


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokenizer", type=Path, help="the full XLM-R tokenizer.json")
    parser.add_argument("data", type=Path, help="the folder that holds train/ and train_bysa/")
    parser.add_argument("output", type=Path, help="where to write the small tokenizer.json")
    parser.add_argument("--size", type=int, default=30_720)
    args = parser.parse_args()

    full = Tokenizer.from_file(str(args.tokenizer))
    source = json.loads(args.tokenizer.read_text(encoding="utf-8"))
    chosen = sample(args.data)
    pieces, chars = usage(full, chosen)
    kept = keep(source["model"]["vocab"], pieces, chars, args.size)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(prune(source, kept), ensure_ascii=False, separators=(",", ":"))
    args.output.write_text(text, encoding="utf-8")

    small = Tokenizer.from_file(str(args.output))
    for lang, lines in sorted(chosen.items()):
        before, after = (
            sum(len(e.ids) for e in t.encode_batch_fast(lines[::20], add_special_tokens=False))
            for t in (full, small)
        )
        lost = sum(
            e.ids.count(3) for e in small.encode_batch_fast(lines[::20], add_special_tokens=False)
        )
        change, unknown = after / before - 1, lost / after
        print(f"{lang:6} {after:9,} tokens ({change:+.1%}), unknown {unknown:.3%}")


if __name__ == "__main__":
    main()
