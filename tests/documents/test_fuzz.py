"""Any bytes and any text: spans are exact, and every error is m3rag's own."""

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m3rag.documents import Document, sentences, split
from m3rag.documents.decoding import decode
from m3rag.documents.formats.content import Budget
from m3rag.documents.formats.registry import by_suffix
from m3rag.documents.parsing import parse
from m3rag.errors import DocumentError, InputError
from m3rag.limits import Limits
from tests.documents.conftest import assert_whole
from tests.trials.record import SEED

LIMITS = Limits(text_characters=5_000)
PIECES = st.sampled_from(
    ["#", "# ", "\n", "\n\n", "---\n", "===\n", "- ", "1. ", "> ", "```", "~~~", "|", "[", "](",
     "<!--", "-->", "\\", "&amp;", "*", "_", "`", "\t", "    ", ". ", "!", "?", "。", "“", "”", "(",
     ")", "Dr. ", "\u0301", "\u200d", "👩", "🇩", "🇪", "\u0e40", "\u1100", "\u094d", "क", "\r",
     "\r\n", "\x85", "\u2028", "\ufeff", "\x0b", "\x1b", " ", "\u00a0", "\u200b", "土", "word ",
     "a" * 40, "title: x\n"]
)  # fmt: skip
TEXT = st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=120).map("".join))
FEW = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FEW
@given(st.binary(max_size=300), st.sampled_from([None, "cp1252", "gb18030", "iso2022_jp", "gbk"]))
def test_any_bytes_are_text_or_refused(data, declared):
    with suppress(DocumentError):
        text = decode(data, declared, LIMITS)
        text.encode()
        assert "\r" not in text
        assert "\0" not in text


@FEW
@given(TEXT.filter(lambda text: "\0" not in text), st.sampled_from([".md", ".txt", ".html"]))
def test_any_text_is_parsed(text, suffix):
    form = by_suffix()[suffix]
    try:
        content = parse(text.encode(errors="replace"), form, Budget(LIMITS))
    except DocumentError:
        return
    content.text.encode()
    before = -1
    for heading in content.headings:
        assert before < heading.start < len(content.text)
        assert heading.title == " ".join(heading.title.split()) != ""
        before = heading.start


def check_split(text, tokenizer, limit, overlap):
    content = parse(text.encode(errors="replace"), by_suffix()[".md"], Budget(LIMITS))
    document = Document("d", content.text, content.headings)
    try:
        passages = split(document, tokenizer, max_tokens=limit, overlap=overlap)
    except InputError:  # one character alone is longer than the limit
        return
    assert_whole(document, passages, tokenizer, limit)
    spans = sentences(content.text)
    assert all(a < b for a, b in spans)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    assert sum(len("".join(content.text[a:b].split())) for a, b in spans) == len(
        "".join(content.text.split())
    )


@FEW
@given(TEXT.filter(lambda t: "\0" not in t), st.integers(16, 60), st.integers(0, 7))
def test_any_text_is_split_into_exact_spans(tokenizer, text, limit, overlap):
    check_split(text, tokenizer, limit, overlap)


@pytest.mark.trial
@pytest.mark.timeout(300)
def test_many_texts_are_split_into_exact_spans(tokenizer):
    from hypothesis import seed

    @seed(SEED)
    @settings(FEW, max_examples=4_000, database=None)
    @given(TEXT.filter(lambda t: "\0" not in t), st.integers(16, 60), st.integers(0, 7))
    def many(text, limit, overlap):
        check_split(text, tokenizer, limit, overlap)

    many()
