"""A real tokenizer of the model's family, and the checks that every split must pass."""

import io
import os
from contextlib import contextmanager
from pathlib import Path

import pytest
import tokenizers

import m3rag
from m3rag.documents import Document, Passage

TOKENIZER = Path(m3rag.__file__).parent / "bundled" / "tiny" / "tokenizer.json"


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a file."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


class CountingTokenizer:
    """The bundled tokenizer; counts the characters that it receives."""

    def __init__(self) -> None:
        self._backend = tokenizers.Tokenizer.from_file(str(TOKENIZER))
        self.characters = 0
        self.longest = 0

    def spans(self, texts):
        self.characters += sum(map(len, texts))
        self.longest = max(self.longest, *map(len, texts))
        encoded = self._backend.encode_batch(list(texts), add_special_tokens=False)
        return [encoding.offsets for encoding in encoded]

    def cost(self, text: str) -> int:
        return len(self._backend.encode(text).ids)


@pytest.fixture(scope="session")
def tokenizer() -> CountingTokenizer:
    return CountingTokenizer()


@pytest.fixture
def counting(tokenizer: CountingTokenizer) -> CountingTokenizer:
    tokenizer.characters = tokenizer.longest = 0
    return tokenizer


@pytest.fixture
def unprivileged():
    """Return a context in which permissions apply: root may read everything."""

    @contextmanager
    def unprivileged():
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(user)

    return unprivileged


def saved(document) -> bytes:
    """Return the file that an object of python-docx, python-pptx or odfdo saves."""
    data = io.BytesIO()
    document.save(data)
    return data.getvalue()


def lines_at(document: Document) -> list[str]:
    """Return the line that each heading starts at."""
    return [document.text[h.start :].split("\n")[0] for h in document.headings]


def assert_whole(
    document: Document, passages: list[Passage], tokenizer: CountingTokenizer, max_tokens: int
) -> None:
    """Check that spans are exact, starts ascend, no text is missing and no passage is too long."""
    covered, before = 0, -1
    for number, passage in enumerate(passages):
        assert passage.start is not None
        assert passage.end is not None
        assert passage.id == f"{document.id}#{number}"
        assert passage.text == document.text[passage.start : passage.end] == passage.text.strip()
        assert passage.text
        assert tokenizer.cost(passage.text) <= max_tokens
        assert passage.start > before
        assert not document.text[covered : passage.start].strip()
        covered, before = max(covered, passage.end), passage.start
    assert not document.text[covered:].strip()
