"""Metadata that is changed without encoding, and documents that are listed."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest

from m3rag import M3Index, Passage
from m3rag.errors import ClosedError, InputError
from m3rag.index.maintenance import check
from tests.index.conftest import PASSAGES
from tests.index.test_index import QUERY, ids


def scores(index):
    hits = index.search(QUERY, k=5, weights=(1, 1, 1, 1))
    names = ("score", "dense", "sparse", "colbert", "bm25")
    return {(h.passage.id, name): getattr(h, name) for h in hits for name in names}


def test_values_are_added_and_replaced(own, monkeypatch):
    before, vectors = scores(own), own.dense_vectors(["fern"])
    monkeypatch.setattr(own, "_points", None)  # encoding anything would fail
    number = own.update_metadata(
        {"year": 2026, "day": dt.date(2026, 3, 1)}, ["fern", "none", "fern"]
    )
    assert number == 1
    assert own.get(["fern"])[0].metadata == {"lang": "en", "year": 2026, "day": "2026-03-01"}
    assert own.get(["cactus"])[0] == PASSAGES[2]
    assert scores(own) == pytest.approx(before)
    assert np.array_equal(own.dense_vectors(["fern"]), vectors)
    assert len(own) == len(PASSAGES)


async def test_a_renamed_passage_keeps_its_vectors(own, monkeypatch):
    before, vectors = scores(own), own.dense_vectors(["fern", "cactus"])
    monkeypatch.setattr(own, "_points", None)  # encoding anything would fail
    fern, _, cactus, *_ = PASSAGES
    new = replace(fern, id="moss", document_id="moss.md", metadata={"n": 1})
    assert own.rename({"fern": new, "none": replace(fern, id="x")}) == 1
    assert own.get(["fern", "moss", "x"]) == [None, new, None]
    named = {("moss" if i == "fern" else i, name): score for (i, name), score in before.items()}
    assert scores(own) == pytest.approx(named)
    swapped = {"moss": replace(new, id="cactus"), "cactus": replace(cactus, id="moss")}
    assert await own.arename(swapped) == 2
    assert np.array_equal(own.dense_vectors(["cactus", "moss"]), vectors)
    with pytest.raises(InputError, match="2 passages would get the id 'a'"):
        own.rename({"m3": replace(fern, id="a"), "moss": replace(fern, id="a")})
    with pytest.raises(InputError, match="text of passage 'm3' is another one"):
        own.rename({"m3": replace(fern, id="a")})
    assert own.rename({}) == 0
    assert len(own) == len(PASSAGES)


def test_filters_find_the_new_values_only(own):
    assert own.update_metadata({"lang": "la"}, filter={"lang": "en"}) == 3
    assert own.count({"lang": "la"}) == 3
    assert own.count({"lang": "en"}) == 0
    assert {*ids(own.search(QUERY, filter={"lang": "la"}))} == {"fern", "cactus", "m3"}
    assert own.search(QUERY, filter={"lang": "en"}) == []


def test_a_function_returns_all_metadata(own):
    def renamed(passage):
        return {"language": passage.metadata["lang"], "by": {"id": passage.id}}

    assert own.update_metadata(renamed, filter={"$id": ["fern", "m3"]}) == 2
    assert own.get(["fern"])[0].metadata == {"language": "en", "by": {"id": "fern"}}
    assert own.count({"by.id": "m3"}) == 1
    assert own.count({"lang": {"exists": True}}) == len(PASSAGES) - 2


def test_many_passages(place, tiny):
    with M3Index.open(place, model=tiny, colbert="off") as index:
        index.add(Passage(f"p{i:03}", f"number {i}", {"n": i}) for i in range(300))
        assert index.update_metadata({"seen": True}, filter={"n": {"gte": 0}}) == 300
        assert index.count({"seen": True}) == 300
        assert [h.passage.id for h in index.search("number 299", 1, channels=["bm25"])] == ["p299"]


def test_they_are_there_in_the_next_session_and_intact(tmp_path, tiny):
    with M3Index.open(tmp_path / "kb", model=tiny) as index:
        index.add(PASSAGES)
        before = scores(index)
        index.update_metadata({"n": 1}, ["fern"])
    assert check(tmp_path / "kb").problems == ()
    with M3Index.open(tmp_path / "kb", model=tiny) as index:
        assert index.get(["fern"])[0].metadata["n"] == 1
        assert scores(index) == pytest.approx(before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metadata": {"n": 1}}, "either ids or a non-empty filter"),
        ({"metadata": {"n": 1}, "ids": ["fern"], "filter": {"a": 1}}, "either ids or"),
        ({"metadata": {"n": 1}, "filter": {}}, "either ids or"),
        ({"metadata": 7, "ids": ["fern"]}, "`metadata` must be a dict or a function"),
        ({"metadata": {"n": object()}, "ids": ["fern"]}, r"'fern'.*metadata\['n'\]"),
        ({"metadata": lambda p: None, "ids": ["fern"]}, "its metadata must be a dict"),
        ({"metadata": {"n": 1}, "ids": "fern"}, "`ids` must be a list"),
    ],
)
def test_what_is_refused(own, arguments, message):
    with pytest.raises(InputError, match=message):
        own.update_metadata(**arguments)
    assert own.get(["fern"])[0] == PASSAGES[0]


def test_a_closed_index(own):
    own.close()
    with pytest.raises(ClosedError):
        own.update_metadata({"n": 1}, ["fern"])


async def test_async(own):
    assert await own.aupdate_metadata({"n": 1}, ["fern"]) == 1


def test_documents_are_listed(index):
    assert index.documents() == {"plantas.md": 1, "plants.md": 2}
    assert index.documents({"year": {"gte": 2020}}) == {"plantas.md": 1, "plants.md": 1}
