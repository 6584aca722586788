"""Check a `tokenizer.json` in front of the library that reads it.

The library trusts the file: a long token overflows its stack, a wrong number in the character map
makes it allocate gigabytes and abort the process, and a regular expression can take forever.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from m3rag.errors import CheckpointError
from m3rag.model.modelfiles import parse_json, read_bytes, read_gzip, shortened

_MAX_ROWS = 1 << 20  # tokens, where the size of the model is not known
_TOKEN_BYTES = 512  # of a token; the library keeps the tokens as a tree and frees it recursively
_TREE = (1_000_000, 8)  # nodes of this tree: a base and a number per token; each takes 330 bytes
_ADDED = 10_000  # added tokens: special ones, and those of a fine-tune
_REPLACEMENT_BYTES = 64  # what one character can become; NFKC makes up to 33 bytes of one
_STEPS = 16  # of the normalizer
_GROWTH = 256  # times that the steps together can lengthen a text
_DEPTH = 8  # of sequences in sequences

_CHECKED = frozenset(
    {
        # XLM-RoBERTa's 250,002 tokens as transformers 5 writes them. The checks take longer than
        # all else of loading "small" but the library; the tests run them on this very file.
        "82b5b108251b5c74e61157c8f56c9b78f80b54a9eff6bd08d872dabff28250de"
    }
)
"""The SHA-256 of contents that pass all checks."""

# A regular expression that is matched in linear time: characters, and a repetition at its end.
_SIMPLE = re.compile(
    r"(?:\\[sStnr.\\|*+?(){}\[\]]|[^\\\[\](){}|*+?^$.]|\[[^\\\[\]^-]+\]){1,16}"
    r"(?:[+*?]|\{\d{0,2},?\d{0,2}\})?"
)
_PLAIN_STEPS = ("NFC", "NFD", "NFKC", "NFKD", "Nmt", "Lowercase", "Strip", "StripAccents")


def read_tokenizer(path: Path, rows: int | None) -> bytes:
    """Return the checked content of a `tokenizer.json` or `tokenizer.json.gz`, expanded.

    Args:
        path: The file.
        rows: The number of embeddings of the model; None if it is not known.

    Raises:
        CheckpointError: It is not the tokenizer of an XLM-R, or has something that would take the
            library unbounded memory or time.
    """
    most = _MAX_ROWS if rows is None else rows
    read = read_gzip if path.suffix == ".gz" else read_bytes
    data = read(path, (4 << 20) + 256 * most)
    if hashlib.sha256(data).hexdigest() in _CHECKED:
        return data
    content = parse_json(path, data, values=1_000_000 + 8 * most)
    model = content.get("model") if isinstance(content, dict) else None
    if not isinstance(model, dict):
        raise _wrong(path, "it has no model")
    if model.get("type") != "Unigram":
        raise _wrong(path, f"its model is {shortened(model.get('type'))}, not 'Unigram'")
    _check_tokens(path, model)
    _check_added(path, content.get("added_tokens"))
    growth = 1.0
    for step in _steps(path, content.get("normalizer"), 0):
        growth *= _growth(path, step)
    if growth > _GROWTH:
        raise _wrong(path, f"its normalizer makes a text up to {growth:,.0f} times as long")
    return data


def _check_tokens(path: Path, model: dict[str, Any]) -> None:
    vocabulary = model.get("vocab")
    if not isinstance(vocabulary, list):
        raise _wrong(path, "it has no vocabulary")
    for i, entry in enumerate(vocabulary):
        sound = isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)
        if not sound or not isinstance(entry[1], int | float) or not -1e6 < entry[1] < 1e6:
            raise _wrong(path, f"its token {i} is {shortened(entry)}, not a string and a score")
    unknown = model.get("unk_id")
    if type(unknown) is not int or not 0 <= unknown < len(vocabulary):
        raise _wrong(path, f"its unk_id is {shortened(unknown)}; it has {len(vocabulary):,} tokens")
    tokens = [_encoded(path, entry[0]) for entry in vocabulary]
    base, per_token = _TREE
    most = base + per_token * len(tokens)
    if sum(map(len, tokens)) > most and (nodes := _nodes(tokens)) > most:
        raise _wrong(path, f"its {len(tokens):,} tokens are too long: {nodes:,} bytes")


def _encoded(path: Path, token: str) -> bytes:
    data = token.encode(errors="surrogatepass")
    if len(data) > _TOKEN_BYTES:
        raise _wrong(path, f"it has a token of {len(data):,} bytes, {shortened(token)}")
    return data


def _nodes(tokens: Sequence[bytes]) -> int:
    """Return the number of different beginnings of the tokens."""
    nodes = 0
    for before, token in pairwise([b"", *sorted(tokens)]):
        common = next(
            (i for i, (a, b) in enumerate(zip(before, token, strict=False)) if a != b),
            min(len(before), len(token)),
        )
        nodes += len(token) - common
    return nodes


def _check_added(path: Path, added: object) -> None:
    if added is None:
        return
    if not isinstance(added, list) or len(added) > _ADDED:
        count = len(added) if isinstance(added, list) else shortened(added)
        raise _wrong(path, f"it has {count} added tokens; at most {_ADDED:,} are usual")
    for token in added:
        if not isinstance(token, dict) or not isinstance(token.get("content"), str):
            raise _wrong(path, f"its added token {shortened(token)} has no content")
        _encoded(path, token["content"])


def _steps(path: Path, normalizer: object, depth: int) -> Iterator[dict[str, Any]]:
    """Yield the steps of a normalizer, without the sequences that contain them."""
    if normalizer is None:
        return
    if not isinstance(normalizer, dict) or depth > _DEPTH:
        raise _wrong(path, f"its normalizer has the step {shortened(normalizer)}")
    if normalizer.get("type") != "Sequence":
        yield normalizer
        return
    parts = normalizer.get("normalizers")
    if not isinstance(parts, list) or len(parts) > _STEPS:
        raise _wrong(path, f"its normalizer has the steps {shortened(parts)}")
    for part in parts:
        yield from _steps(path, part, depth + 1)


def _growth(path: Path, step: dict[str, Any]) -> float:
    """Return how many times as long a step can make a text, after checking the step."""
    kind = step.get("type")
    if kind in _PLAIN_STEPS:
        return 1.0
    if kind == "Precompiled":
        return _check_map(path, step.get("precompiled_charsmap")) / 3
    if kind == "Prepend" and isinstance(step.get("prepend"), str):
        return 1.0 + len(step["prepend"])
    pattern, content = step.get("pattern"), step.get("content")
    if kind != "Replace" or not isinstance(pattern, dict) or not isinstance(content, str):
        raise _wrong(path, f"its normalizer has the step {shortened(kind)}, which XLM-R has not")
    text, regex = pattern.get("String"), pattern.get("Regex")
    if isinstance(text, str) and text and regex is None:
        return max(1.0, len(content.encode(errors="replace")) / len(text))
    if isinstance(regex, str) and text is None and _SIMPLE.fullmatch(regex):
        # An optional last character also matches between two characters.
        return max(1.0, 1.0 + len(content.encode(errors="replace")))
    raise _wrong(path, f"its normalizer replaces {shortened(pattern)}, which can take too long")


def _check_map(path: Path, encoded: object) -> int:
    """Return the longest text, in bytes, that a character map puts in place of a character.

    The map has the size of a tree, the tree, and texts that end in a zero byte.
    """
    try:
        data = base64.b64decode(encoded, validate=True)  # type: ignore[arg-type]  # checked by it
    except (TypeError, ValueError) as error:
        raise _wrong(path, f"its precompiled_charsmap is not base64 ({error})") from error
    size = int.from_bytes(data[:4], "little")
    if len(data) < 4 or size % 4 or not 0 < size <= len(data) - 4:
        raise _wrong(
            path, f"its precompiled_charsmap has {len(data):,} bytes and a tree of {size:,}"
        )
    longest = max(map(len, data[4 + size :].split(b"\0")))
    if longest > _REPLACEMENT_BYTES:
        raise _wrong(path, f"its precompiled_charsmap makes {longest:,} bytes of one character")
    return max(3, longest)


def _wrong(path: Path, problem: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged, or is not the tokenizer of a BGE-M3 model: {problem}. Take the file "
        "from the original checkpoint."
    )
