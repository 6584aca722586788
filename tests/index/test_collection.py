"""Add, delete and read passages, in memory and in a folder."""

from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from llama_index.core.schema import TextNode

from m3rag import M3Index, Passage
from m3rag.errors import InputError, TruncationWarning
from tests.index.conftest import PASSAGES
from tests.index.test_index import QUERY, ids


async def test_async_add_and_delete(own):
    assert await own.aadd([Passage("new", "A new passage.")]) == ["new"]
    assert await own.adelete(["new", "fern"]) == 2
    assert own.count() == len(PASSAGES) - 1


def test_strings_get_ids_from_their_text(place, tiny):
    with M3Index.open(place, model=tiny) as index:
        first = index.add(["one text", "another text", "one text"])
        assert first[0] == first[2] != first[1]
        assert index.add(["one text"]) == [first[0]]
        assert len(index) == 2
        assert index.get([first[1]])[0].text == "another text"


def test_the_last_passage_with_an_id_wins(place, tiny):
    stream = [Passage("a", "first"), Passage("b", "other"), Passage("a", "last")]
    for batch in (64, 1):
        with M3Index.open(place and place / str(batch), model=tiny) as index:
            assert index.add(stream, batch=batch) == ["a", "b", "a"]
            assert len(index) == 2
            assert index.get(["a"])[0].text == "last"


def test_a_replaced_passage_is_found_by_its_new_text(own):
    own.add([Passage("m3", "Sharks live in the sea.")])
    assert ids(own.search("sea", channels=["bm25"])) == ["m3"]
    assert own.search("hundred", channels=["bm25"]) == []


def test_add_reads_passages_as_needed(place, tiny):
    read: list[int] = []
    reported: list[tuple[int, int]] = []

    def stream():
        for i in range(20):
            read.append(i)
            yield Passage(f"p{i}", f"number {i}")

    def progress(stage, done, total):
        reported.append((done, len(read)))

    with M3Index.open(place, model=tiny) as index:
        index.add(stream(), batch=4, progress=progress)
    assert [done for done, _ in reported] == [4, 8, 12, 16, 20]
    assert reported[0][1] <= 8  # the next batch was encoded while the first was written


def test_passages_reported_before_an_error_are_stored(place, tiny):
    def stream():
        for i in range(10):
            yield Passage(f"p{i}", f"number {i}")
        raise OSError("the disk with the documents is gone")

    done = []
    with M3Index.open(place, model=tiny) as index:
        with pytest.raises(OSError, match="documents"):
            index.add(stream(), batch=2, progress=lambda stage, n, total: done.append(n))
        assert index.count() >= done[-1] >= 6


def test_the_warning_about_a_long_text_names_its_passage(tiny):
    texts = ["short", "word " * 9_000, "also short"]
    passages = [Passage(f"p{i}", text, {"source": f"{i}.md"}) for i, text in enumerate(texts)]
    with M3Index.open(model=tiny, colbert="off") as index:
        with pytest.warns(TruncationWarning, match=r"longest, passage 'p1' \(from '1\.md'\), has"):
            index.add(passages)
        with pytest.warns(TruncationWarning, match=r"longest, text 1, has"):
            tiny.encode(texts)


def test_items_of_a_framework_are_refused_with_advice(index):
    for item, method in (
        (Document("text"), "add_documents"),
        (TextNode(text="text"), "from_nodes"),
    ):
        with pytest.raises(InputError, match=rf"passages\[0\]: .*{type(item).__name__}.*{method}"):
            index.add([item])


def test_delete_by_filter(own):
    assert own.delete(filter={"document_id": "plants.md"}) == 2
    assert {p.id for p in own.passages()} == {"helecho", "植物", "m3"}


def test_delete_needs_ids_or_a_filter(index):
    calls: list[dict[str, Any]] = [{}, {"filter": {}}, {"ids": ["a"], "filter": {"lang": "es"}}]
    for arguments in calls:
        with pytest.raises(InputError, match="either ids or a non-empty filter"):
            index.delete(**arguments)
    assert len(index) == len(PASSAGES)


def test_get_keeps_the_order(index):
    assert index.get(["m3", "nothing", "fern"]) == [PASSAGES[4], None, PASSAGES[0]]


def test_passages_iterates_over_all_pages(index):
    assert {p.id for p in index.passages(batch=2)} == {p.id for p in PASSAGES}
    assert {p.id for p in index.passages({"year": {"gte": 2020}})} == {"helecho", "cactus"}


def test_count_with_a_filter(index):
    assert index.count({"lang": "en"}) == 3


def test_optimize_keeps_the_hits(own):
    before = own.search(QUERY, k=5)
    own.optimize()
    assert ids(own.search(QUERY, k=5)) == ids(before)


@pytest.mark.parametrize(
    ("passages", "message"),
    [
        ("text", "Pass a list"),
        (Passage("a", "text"), "Pass a list"),
        ([7], "got int"),
        (["lone surrogate \ud800"], "cannot be stored"),
        ([Passage("a", "x", {"n": float("nan")})], "'a' cannot be stored"),
        ([Passage("a", "x", {"n": {1: 2}})], "key in its metadata is not a string"),
        ([Passage("a", "x", {"n": object()})], "JSON"),
    ],
)
def test_invalid_passages(index, passages, message):
    with pytest.raises(InputError, match=message):
        index.add(passages)
    assert len(index) == len(PASSAGES)


@pytest.mark.parametrize("batch", [0, 1.5, True])
def test_an_invalid_batch(index, batch):
    with pytest.raises(InputError, match="`batch` must be"):
        index.add(["x"], batch=batch)


@pytest.mark.parametrize("given", ["fern", [1], None])
def test_invalid_ids(index, given):
    with pytest.raises(InputError):
        index.get(given)


def test_nan_from_the_model_is_not_stored(place, tiny):
    class Broken:
        def __getattr__(self, name):
            return getattr(tiny, name)

        def encode(self, texts, **views):
            encoding = tiny.encode(texts, **views)
            encoding.dense[1] = np.nan
            return encoding

    with M3Index.open(place, model=Broken()) as index:
        with pytest.raises(InputError, match=r"NaN.*'b'"):
            index.add([Passage("a", "x"), Passage("b", "y")])
        assert len(index) == 0
