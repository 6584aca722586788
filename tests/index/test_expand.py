"""`M3Index.expand`: exact offsets, merged overlaps, and no section across a gap."""

import itertools
from pathlib import Path

import pytest

from m3rag import Document, M3Index, Passage, split
from m3rag.errors import InputError

TEXT = (Path(__file__).parents[2] / "docs" / "quickstart.md").read_text(encoding="utf-8")
QUERY = "How do I open an index in a folder?"


@pytest.fixture(scope="module")
def passages(tiny):
    return split(Document("guide", TEXT), tiny.tokenizer, max_tokens=64, overlap=16)


@pytest.fixture
def index(tiny, passages):
    with M3Index.open(model=tiny) as index:
        index.add(passages)
        yield index


def assert_same_text(section, text):
    """Assert that two texts differ only in the kind of white space."""
    assert len(section) == len(text)
    assert all(a == b or (a.isspace() and b.isspace()) for a, b in zip(section, text, strict=True))


@pytest.mark.parametrize("neighbours", [0, 1, 3, 1000])
def test_a_section_is_the_text_of_the_document(index, passages, neighbours):
    for hit in index.search(QUERY, 5):
        at = next(i for i, passage in enumerate(passages) if passage.id == hit.passage.id)
        around = passages[max(0, at - neighbours) : at + neighbours + 1]
        (wide,) = index.expand([hit], neighbours)
        assert wide.passage.start == around[0].start
        assert wide.passage.end == max(passage.end for passage in around)
        assert_same_text(wide.passage.text, TEXT[wide.passage.start : wide.passage.end])
        assert (wide.score, wide.passage.id) == (hit.score, hit.passage.id)


def test_sections_that_overlap_become_one(index):
    hits = index.search(QUERY, 12)
    wide = index.expand(hits, 2)
    assert len(wide) < len(hits)
    assert wide[0].score == hits[0].score
    spans = sorted((hit.passage.start, hit.passage.end) for hit in wide)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    for hit in hits:
        assert any(a <= hit.passage.start and hit.passage.end <= b for a, b in spans)


def test_a_section_ends_at_a_gap(index, passages):
    index.delete([passages[i].id for i in (2, 3, 4)])
    hit = next(h for h in index.search(QUERY, 99) if h.passage.id == passages[5].id)
    (wide,) = index.expand([hit], 3)
    assert wide.passage.start == passages[5].start


def test_a_passage_without_offsets_stays(tiny):
    with M3Index.open(model=tiny) as index:
        index.add(["Ferns like shade.", Passage("p", "They like water.", document_id="d")])
        hits = index.search("ferns", 2)
        assert [hit.passage for hit in index.expand(hits, 3)] == [hit.passage for hit in hits]


def test_neighbours_out_of_range(index):
    with pytest.raises(InputError, match="at least 0, got -1"):
        index.expand([], -1)
