"""Any bytes, any text and any broken file: spans are exact, and every error is m3rag's own."""

import random
from collections import Counter, defaultdict
from contextlib import suppress
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m3rag.documents import Document, sentences, split
from m3rag.documents.decoding import decode
from m3rag.documents.formats.content import Budget
from m3rag.documents.formats.registry import CODE, FORMATS, by_suffix
from m3rag.documents.parser_process import parse_apart
from m3rag.documents.parsing import parse
from m3rag.errors import DocumentError, InputError
from m3rag.limits import Limits
from tests.documents.conftest import assert_whole
from tests.documents.corpus.make import FILES
from tests.trials.document_mutations import mutated
from tests.trials.record import SEED, record

LIMITS = Limits(text_characters=5_000)
PIECES = st.sampled_from(
    ["#", "# ", "\n", "\n\n", "---\n", "===\n", "- ", "1. ", "> ", "```", "~~~", "|", "[", "](",
     "<!--", "-->", "\\", "&amp;", "*", "_", "`", "\t", "    ", ". ", "!", "?", "。", "“", "”", "(",
     ")", "Dr. ", "\u0301", "\u200d", "👩", "🇩", "🇪", "\u0e40", "\u1100", "\u094d", "क", "\r",
     "\r\n", "\x85", "\u2028", "\ufeff", "\x0b", "\x1b", " ", "\u00a0", "\u200b", "土", "word ",
     "a" * 40, "title: x\n"]
)  # fmt: skip
TEXT = st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=120).map("".join))
READERS = [form for form in (*FORMATS, *CODE) if not form.image]  # another program reads images
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


# Broken files of every format


@cache
def seeds():
    """Return the files of the corpus, by format."""
    found = defaultdict(list)
    for path in sorted(FILES.rglob("*.*")):
        found[by_suffix()[path.suffix].name].append((path.suffix, path.read_bytes()))
    program = found["javascript"]
    return {**dict.fromkeys((form.name for form in CODE), program), **found}


def broken(rng, form):
    """Return a broken copy of a file of a format; some are two files in one."""
    suffix, data = rng.choice(seeds()[form.name])
    if rng.random() < 0.2:
        _, other = rng.choice(seeds()[form.name])
        return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]
    return mutated(rng, data, suffix)


def outcome(data, form):
    """Read a file in a parser process, and return what became of it."""
    try:
        content = parse_apart(data, form, Budget())
    except DocumentError as error:
        text = str(error)
        return "slow" if "seconds" in text else "crash" if "ended with" in text else "error"
    content.text.encode()
    starts = [heading.start for heading in content.headings]
    assert starts == sorted(starts)
    assert list(content.pages) == sorted(content.pages)
    assert all(0 <= start <= len(content.text) for start in (*starts, *content.pages))
    return "document"


@pytest.mark.parametrize("form", READERS, ids=lambda form: form.name)
def test_broken_files_are_read_or_refused(form):
    rng = random.Random(form.name)
    for _ in range(2):
        assert outcome(broken(rng, form), form) in ("document", "error")


@pytest.mark.trial
@pytest.mark.timeout(1800)
def test_many_broken_files_are_read_or_refused():
    rng = random.Random(SEED)
    counts = Counter(outcome(broken(rng, form), form) for _ in range(150) for form in READERS)
    record(
        "broken files of each format",
        tried=counts.total(),
        hung=counts["slow"],
        raw=counts["crash"],
        note=f"{counts['document']} documents, {counts['error']} own errors",
    )
