"""A tokenizer without state.

In transformers and tokenizers, truncation and padding are *settings of the shared object*: two
threads with a different `max_length` silently cut each other's texts (huggingface/tokenizers#2041,
FlagEmbedding#703). Here both are always off, and `Tokenizer` cuts texts itself, so any number of
threads can share it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tokenizers
from tokenizers import pre_tokenizers

from m3rag.errors import CheckpointError
from m3rag.model.modelfiles import clipped, exists
from m3rag.model.vocabulary import read_tokenizer

# XLM-R splits at whitespace before it segments. So tokenising a long text in blocks that end
# between two words gives the same result, and avoids the library's slow path for a giant string.
_BLOCK = 1 << 16  # characters

PAIR_TOKENS = 4
"""The special tokens of a pair of texts: `<s>`, `</s></s>` between them, and `</s>`."""

_FAILED = "The model's tokenizer.json failed on a text"
_REPLACE = "Take the file from the original checkpoint."


@dataclass(frozen=True, slots=True)
class Tokens:
    """The token ids of one text, cut to a limit.

    Attributes:
        ids: `<s> … </s>`, at most as many as the limit; a cut text keeps its `</s>`.
        total: The number of ids of the whole text; a lower bound if the text was cut.
        cls: The positions of the inserted `<s>`, ascending; an `<s>` in the text itself is not
            included.
    """

    ids: list[int]
    total: int
    cls: tuple[int, ...] = (0,)

    @property
    def truncated(self) -> bool:
        """Whether the text was cut."""
        return self.total > len(self.ids)


class Tokenizer:
    """The XLM-R tokenizer of a checkpoint (`tokenizer.json`); safe to use from any thread."""

    def __init__(self, path: Path, rows: int | None = None) -> None:
        """Read and check a tokenizer.

        Args:
            path: The `tokenizer.json`; without one, `tokenizer.json.gz` beside it is read.
            rows: The number of the model's embeddings.

        Raises:
            CheckpointError: The file is missing, damaged, or not the tokenizer of this model.
        """
        compressed = path.with_name(f"{path.name}.gz")
        if not exists(path) and exists(compressed):
            path = compressed
        elif not exists(path):
            raise CheckpointError(
                f"{path.parent} has no tokenizer.json: it is not a BGE-M3 folder."
            )
        self.json = read_tokenizer(path, rows)
        with _failures(f"{path} is damaged", "Download the file again."):
            self._backend = tokenizers.Tokenizer.from_buffer(self.json)
        # transformers 5 sets this for every XLM-R tokenizer.json, so FlagEmbedding uses it, too:
        # whitespace separates words and is never a token, as in SentencePiece.
        self._backend.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace("▁", "always")]
        )
        self._backend.post_processor = None  # special tokens are added by `_with_special`
        self._backend.no_truncation()
        self._backend.no_padding()
        self.bos, self.pad, self.eos, self.unk = (
            self._special(t, path) for t in ("<s>", "<pad>", "</s>", "<unk>")
        )

    @property
    def vocab_size(self) -> int:
        """The number of ids, including special tokens."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    @property
    def unweighted(self) -> tuple[int, ...]:
        """The ids that never have a sparse weight: `<s>`, `<pad>`, `</s>`, `<unk>`."""
        return (self.bos, self.pad, self.eos, self.unk)

    def cut(self, texts: Sequence[str], limit: int, mcls: int | None = None) -> list[Tokens]:
        """Return the ids of texts with `<s>` and `</s>`, each text cut to `limit` ids.

        Only as much of a text is tokenised as the limit requires. With `mcls`, there is an `<s>`
        before every `mcls` tokens of a text.
        """
        step = mcls or limit
        room = limit - 2 - (limit - 2) // (step + 1)  # content tokens; each <s> takes a place
        return [self._with_special(ids, room, step) for ids in self._ids(texts, at_least=room)]

    def cut_pairs(
        self, pairs: Sequence[tuple[str, str]], limit: int, query_limit: int
    ) -> list[Tokens]:
        """Return the ids of `<s> query </s></s> passage </s>`, each pair cut to `limit` ids.

        A query is cut to `query_limit` ids, which leave room for a passage, and the passage to what
        is left of `limit`. Beside a passage without ids, the query stands alone: `<s> query </s>`.
        """
        queries = list(dict.fromkeys(query for query, _ in pairs))
        ids = dict(zip(queries, self._ids(queries, at_least=query_limit), strict=True))
        passages = self._ids([passage for _, passage in pairs], at_least=limit)
        return [
            self._pair(ids[query], passage, limit, query_limit)
            for (query, _), passage in zip(pairs, passages, strict=True)
        ]

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the content ids of whole texts, without `<s>` and `</s>`."""
        return list(self._ids(texts))

    def spans(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Return the character span of each content token in the original text."""
        short = [text for text in texts if len(text) <= _BLOCK]
        with _failures(_FAILED, _REPLACE):
            encoded = iter(self._backend.encode_batch(short, add_special_tokens=False))
        return [
            next(encoded).offsets if len(text) <= _BLOCK else self._long_spans(text)
            for text in texts
        ]

    def tokens(self, ids: Iterable[int]) -> list[str]:
        """Return the vocabulary's piece for each id; "▁" marks the start of a word."""
        return [self._backend.id_to_token(int(i)) or "<unk>" for i in ids]

    def _with_special(self, ids: list[int], room: int, step: int) -> Tokens:
        kept = ids[:room]
        starts = range(0, len(kept), step) or range(1)
        content = [id_ for start in starts for id_ in (self.bos, *kept[start : start + step])]
        cls = tuple(start + i for i, start in enumerate(starts))
        total = len(ids) + max(1, -(-len(ids) // step)) + 1
        return Tokens([*content, self.eos], total, cls)

    def _pair(self, query: list[int], passage: list[int], limit: int, query_limit: int) -> Tokens:
        first = [self.bos, *query[:query_limit], self.eos]
        if not passage:
            return Tokens(first, len(query) + 2)
        first.append(self.eos)
        ids = [*first, *passage[: limit - len(first) - 1], self.eos]
        return Tokens(ids, len(query) + len(passage) + PAIR_TOKENS)

    def _ids(self, texts: Sequence[str], at_least: int | None = None) -> Iterator[list[int]]:
        short = [text for text in texts if len(text) <= _BLOCK]
        with _failures(_FAILED, _REPLACE):
            encoded = iter(self._backend.encode_batch_fast(short, add_special_tokens=False))
        for text in texts:
            if len(text) <= _BLOCK:
                yield next(encoded).ids
                continue
            ids: list[int] = []
            for _, block in _blocks(text):
                with _failures(_FAILED, _REPLACE):
                    ids += self._backend.encode(block, add_special_tokens=False).ids
                if at_least is not None and len(ids) > at_least:
                    break
            yield ids

    def _long_spans(self, text: str) -> list[tuple[int, int]]:
        spans: list[tuple[int, int]] = []
        for start, block in _blocks(text):
            with _failures(_FAILED, _REPLACE):
                offsets = self._backend.encode(block, add_special_tokens=False).offsets
            spans.extend((start + a, start + b) for a, b in offsets)
        return spans

    def _special(self, token: str, path: Path) -> int:
        id_ = self._backend.token_to_id(token)
        if id_ is None:
            raise CheckpointError(f"{path} has no {token} token: it is not an XLM-R tokenizer.")
        return id_


@contextmanager
def _failures(what: str, fix: str) -> Iterator[None]:
    """Turn the errors of the library into `CheckpointError`.

    It raises a plain Exception, or a PanicException, which is not even an Exception.
    """
    try:
        yield
    except BaseException as error:
        panic = type(error).__name__ == "PanicException"
        if not (panic or isinstance(error, Exception)) or isinstance(error, MemoryError):
            raise
        raise CheckpointError(f"{what}: {clipped(error)}. {fix}") from error


def _blocks(text: str) -> Iterator[tuple[int, str]]:
    """Split a text between words and yield (start, block), each of about `_BLOCK` characters."""
    start = 0
    while len(text) - start > _BLOCK:
        end = start + _BLOCK
        # Cut before whitespace; a word longer than half a block may be cut anywhere.
        for cut in range(end, start + _BLOCK // 2, -1):
            if text[cut].isspace() and not text[cut - 1].isspace():
                end = cut
                break
        yield start, text[start:end]
        start = end
    if start < len(text) or not text:
        yield start, text[start:]
