from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m3rag.documents import Document, Heading, split
from m3rag.errors import InputError
from tests.documents.conftest import assert_whole

SENTENCE = "The farmer waters the plants in the morning. "
PIECES = [
    SENTENCE,
    "植物需要多少水？土壤湿度传感器可以测量。",
    "土壌の水分を測定するセンサーを使います。",
    "ปลูกต้นไม้ต้องรดน้ำบ่อยแค่ไหน ",
    "मिट्टी की नमी कैसे मापें? ",
    "كيف أقيس رطوبة التربة؟ ",
    "ﷺ½ｆｕｌｌ１２３ ",
    "👩🏽‍🌾👨‍👩‍👧‍👦🇪🇸🇫🇷",
    "e\u0301o\u0308\u0323",
    "x" * 90,
    "= 3.14; a, b, c: ",
    "\r\n",
    "\n\n",
    "\n# Title\n",
    "\n- item\n",
    "\n| a | b |\n",
    "\n```\ncode = 1\n\n```\n",
    "\t \u3000",
    "\u200b",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)


def doc(text: str, *headings: str) -> Document:
    """Return a document with the given lines as headings, one level per "#" in front."""
    found = []
    for line in headings:
        marks, _, title = line.partition(" ")
        found.append(Heading(len(marks), title, text.index(line)))
    return Document("d", text, tuple(found), {"source": "d.md"})


def markdown(sections: list[tuple[str, str]]) -> Document:
    text = "\n\n".join(f"{heading}\n\n{body}" for heading, body in sections)
    return doc(text, *(heading for heading, _ in sections))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=TEXTS, max_tokens=st.sampled_from([32, 50, 128, 512]), part=st.floats(0, 0.49))
def test_every_split_is_whole(tokenizer, text, max_tokens, part):
    starts = [at for at in range(len(text)) if text.startswith("# Title", at)]
    headings = tuple(Heading(1 + at % 3, "Title", at) for at in starts)
    document = Document("d", text, headings)
    passages = split(document, tokenizer, max_tokens=max_tokens, overlap=int(part * max_tokens))
    assert_whole(document, passages, tokenizer, max_tokens)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.text(max_size=400))
def test_any_text_is_split_whole(tokenizer, text):
    document = Document("d", text)
    assert_whole(document, split(document, tokenizer, max_tokens=40, overlap=9), tokenizer, 40)


@pytest.mark.parametrize("piece", ["x", "植", "e\u0301", "👩🏽‍🌾", "한", "ก็", "क्षि"])
def test_a_run_without_spaces_is_cut_between_visible_characters(tokenizer, piece):
    document = Document("d", piece * 500)
    passages = split(document, tokenizer, max_tokens=64, overlap=0)
    assert_whole(document, passages, tokenizer, 64)
    assert len(passages) > 1
    assert all(passage.start % len(piece) == 0 for passage in passages)


def test_a_short_document_is_one_passage(tokenizer):
    passages = split(doc("# A\n\nShort.", "# A"), tokenizer)
    assert [passage.text for passage in passages] == ["# A\n\nShort."]


@pytest.mark.parametrize("text", ["", " \n\t\u3000\n"])
def test_a_document_without_text_has_no_passages(tokenizer, text):
    assert split(Document("d", text), tokenizer) == []


def test_sections_of_the_same_level_are_kept_apart(tokenizer):
    document = markdown([("# One", SENTENCE * 10), ("# Two", SENTENCE * 10)])
    assert [p.headings for p in split(document, tokenizer)] == [("One",), ("Two",)]


def test_tiny_sections_are_merged_under_the_titles_they_share(tokenizer):
    document = markdown([("# Top", SENTENCE * 10), ("## A", "Tiny."), ("## B", "Tiny too.")])
    (passage,) = split(document, tokenizer)
    assert passage.headings == ("Top",)
    sections = [("# Top", SENTENCE * 40), ("# A", "Tiny."), ("# B", SENTENCE * 30)]
    assert split(markdown(sections), tokenizer)[-1].text.startswith("# A\n\nTiny.\n\n# B")


def test_a_heading_is_never_left_alone(tokenizer):
    sections = [(f"{'#' * (n % 3 + 1)} Section {n}", SENTENCE * (n % 7 + 1)) for n in range(60)]
    titles = {heading for heading, _ in sections}
    passages = split(markdown(sections), tokenizer, max_tokens=64, overlap=0)
    assert not titles & {passage.text.split("\n\n")[-1] for passage in passages}


def test_a_tiny_last_section_stays_with_the_one_before(tokenizer):
    document = markdown([("# One", SENTENCE * 10), ("# Two", "End.")])
    assert len(split(document, tokenizer)) == 1


def test_headings_are_the_path_from_the_top(tokenizer):
    sections = [("# Top", SENTENCE * 60), ("## Sub", SENTENCE * 60), ("### Deep", SENTENCE * 60)]
    passages = split(markdown(sections), tokenizer)
    assert passages[0].headings == ("Top",)
    assert passages[-1].headings == ("Top", "Sub", "Deep")


def test_paragraphs_are_preferred_to_sentences(tokenizer):
    paragraph = (SENTENCE * 12).strip()
    passages = split(Document("d", "\n\n".join([paragraph] * 9)), tokenizer, overlap=0)
    assert len(passages) > 1
    assert all(passage.text.count(paragraph) * paragraph.count(".") == passage.text.count(".")
               for passage in passages)  # fmt: skip


@pytest.mark.parametrize(
    "block",
    [
        "```\n" + "plant = water(soil)\n\n" * 30 + "```",
        "| plant | water |\n" * 30,
        "- a plant needs water and soil\n" * 25,
    ],
)
def test_a_block_that_fits_stays_whole(tokenizer, block):
    text = f"{SENTENCE * 20}\n\n{block}\n\n{SENTENCE * 20}"
    passages = split(Document("d", text), tokenizer)
    assert len(passages) > 1
    assert any(block.strip() in passage.text for passage in passages)


def test_a_heading_in_a_code_block_is_code(tokenizer):
    text = f"# A\n\n```\n# no heading\n```\n\n{SENTENCE * 20}"
    assert split(doc(text, "# A"), tokenizer)[0].headings == ("A",)


def test_the_last_passage_is_not_a_few_words(tokenizer):
    for sentences in range(45, 75):
        passages = split(Document("d", SENTENCE * sentences), tokenizer, overlap=0)
        assert min(tokenizer.cost(passage.text) for passage in passages) > 60


def test_whole_sentences_of_the_same_section_are_repeated(tokenizer):
    text = " ".join(f"Sentence number {n} is about plants and water." for n in range(200))
    passages = split(Document("d", text), tokenizer, max_tokens=128, overlap=40)
    for before, after in pairwise(passages):
        repeated = text[after.start : before.end]
        assert repeated.startswith("Sentence number")
        assert repeated.endswith(".")
        assert tokenizer.cost(repeated) <= 40 + 2


def test_nothing_is_repeated_over_a_heading(tokenizer):
    document = markdown([("# One", SENTENCE * 10), ("# Two", SENTENCE * 10)])
    first, second = split(document, tokenizer)
    assert first.end < second.start


def test_overlap_zero_repeats_nothing(tokenizer):
    passages = split(Document("d", SENTENCE * 300), tokenizer, overlap=0)
    assert all(a.end <= b.start for a, b in pairwise(passages))


def test_metadata_and_page_go_with_every_passage(tokenizer):
    document = Document("d", SENTENCE * 60, metadata={"source": "d.pdf"}, pages=(0, 900, 1800))
    passages = split(document, tokenizer, max_tokens=128, overlap=16)
    assert passages[0].metadata == {"source": "d.pdf", "page": 1}
    assert passages[-1].metadata == {"source": "d.pdf", "page": 3}
    assert document.metadata == {"source": "d.pdf"}


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_tokens": 15}, "max_tokens=15"),
        ({"overlap": -1}, "overlap=-1"),
        ({"max_tokens": 64, "overlap": 32}, "overlap=32"),
    ],
)
def test_limits_out_of_range_are_refused(tokenizer, limits, message):
    with pytest.raises(InputError, match=message):
        split(Document("d", "x"), tokenizer, **limits)


def test_half_a_surrogate_pair_is_refused(tokenizer):
    with pytest.raises(InputError, match="character 1"):
        split(Document("d", "x\ud800"), tokenizer)


def test_a_character_longer_than_the_limit_is_refused():
    class Wordy:
        def spans(self, texts):
            return [[(i, i + 1) for i in range(len(text)) for _ in range(20)] for text in texts]

    with pytest.raises(InputError, match="max_tokens=22"):
        split(Document("d", "xy"), Wordy(), max_tokens=16, overlap=0)


@pytest.mark.parametrize(
    "text",
    [
        SENTENCE * 6000,
        "x" * 250_000,
        "植物" * 100_000,
        "a. " * 80_000,
        "# a\n" * 50_000,
        "." * 200_000,
    ],
)
def test_work_is_linear(counting, text):
    split(Document("d", text), counting)
    assert counting.characters <= 3 * len(text)
    assert counting.longest <= 20_000
