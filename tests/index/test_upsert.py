"""Documents that are brought up to date: what is encoded, what is deleted, what a crash leaves."""

from dataclasses import replace

import numpy as np
import pytest

from m3rag import M3Index, Passage
from m3rag.errors import InputError


class Counting:
    """A model that counts the texts it encodes."""

    def __init__(self, model):
        self.model = model
        self.texts: list[str] = []

    def __getattr__(self, name):
        return getattr(self.model, name)

    def encode(self, texts, **options):
        self.texts += texts
        return self.model.encode(texts, **options)


@pytest.fixture
def model(tiny):
    return Counting(tiny)


def document(name, *texts, **metadata):
    ends = [sum(map(len, texts[: i + 1])) for i in range(len(texts))]
    return [
        Passage(f"{name}#{i}", text, metadata, name, end - len(text), end, ("Top",))
        for i, (text, end) in enumerate(zip(texts, ends, strict=True))
    ]


def stored(index):
    return {p.id: p.text for p in index.passages()}


def test_the_old_end_of_a_document_that_got_shorter_is_gone(place, model):
    with M3Index.open(place, model=model) as index:
        first = index.upsert_documents(document("a", "one", "two", "three") + document("b", "four"))
        assert first.added == first.ids == ["a#0", "a#1", "a#2", "b#0"]
        model.texts.clear()
        second = index.upsert_documents(document("a", "one", "2"))
        assert (second.added, second.replaced) == ([], ["a#1"])
        assert (second.unchanged, second.removed) == (["a#0"], ["a#2"])
        assert second.ids == ["a#0", "a#1"]
        assert model.texts == ["2"]
        assert stored(index) == {"a#0": "one", "a#1": "2", "b#0": "four"}
        hits = index.search("three", channels=["bm25"])
        assert hits == []


def test_in_another_session(tmp_path, model):
    with M3Index.open(tmp_path / "kb", model=model) as index:
        index.upsert_documents(document("a", "one", "two", "three", lang="en"))
    model.texts.clear()
    with M3Index.open(tmp_path / "kb", model=model) as index:
        again = index.upsert_documents(document("a", "one", "two", "three", lang="en"))
        assert (model.texts, len(again.unchanged), again.removed) == ([], 3, [])
        assert index.upsert_documents(document("a", "one", lang="en")).removed == ["a#1", "a#2"]


@pytest.mark.parametrize(
    "changed",
    [
        {"metadata": {"n": True}},
        {"metadata": {"n": 1.0}},
        {"metadata": {}},
        {"headings": ("Other",)},
        {"start": 4},
        {"text": "ones"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_any_difference_replaces_a_passage(place, model, changed):
    fields = {"id": "a", "text": "one", "metadata": {"n": 1}, "document_id": "d", "start": 0}
    with M3Index.open(place, model=model) as index:
        index.upsert_documents([Passage(**fields)])
        new = Passage(**{**fields, **changed})
        vectors, weights = index.dense_vectors(["a"]), index.stored.store.term_weights(["a"])
        model.texts.clear()
        assert index.upsert_documents([new]).replaced == ["a"]
        assert model.texts == ([new.text] if "text" in changed else [])
        if "text" not in changed:
            assert np.array_equal(index.dense_vectors(["a"]), vectors)
            assert index.stored.store.term_weights(["a"]) == weights
        assert repr(index.get(["a"])[0]) == repr(new)
        assert index.upsert_documents([new]).unchanged == ["a"]


def test_passages_without_a_document_are_documents_of_their_own(place, model):
    with M3Index.open(place, model=model) as index:
        index.upsert_documents(["one text", Passage("b", "two")])
        found = index.upsert_documents([Passage("b", "2"), "one text"])
        assert (found.replaced, len(found.unchanged), found.removed) == (["b"], 1, [])
        assert len(index) == 2


def test_documents_without_passages_are_emptied(place, model):
    with M3Index.open(place, model=model) as index:
        index.upsert_documents([*document("a", "one"), *document("b", "two")])
        assert index.upsert_documents([], documents=["a", "missing"]).removed == ["a#0"]
        assert stored(index) == {"b#0": "two"}
        with pytest.raises(InputError, match="`documents` must be a list of strings"):
            index.upsert_documents([], documents="b")


def test_a_document_may_come_in_parts(place, model):
    parts = document("a", "one", "two", "three")
    other = document("b", "four")
    with M3Index.open(place, model=model) as index:
        index.upsert_documents([parts[0], *other, *parts[1:]], batch=1)
        found = index.upsert_documents([parts[2], *other, parts[0]], batch=1)
        assert (found.removed, len(found.unchanged)) == (["a#1"], 3)


def test_an_id_that_is_given_twice_has_its_last_text(place, model):
    with M3Index.open(place, model=model) as index:
        index.add([Passage("a", "one", document_id="d")])
        twice = [Passage("a", text, document_id="d") for text in ("two", "one")]
        for batch in (1, 64):
            found = index.upsert_documents(twice, batch=batch)
            assert (found.replaced, found.unchanged) == (["a"], [])
            assert stored(index) == {"a": "one"}
        model.texts.clear()
        for batch in (1, 64):
            twice = [Passage("a", "one", {"n": n}, "d") for n in (1, 2, 1, 3)]
            twice.append(Passage("a", "one", document_id="d"))
            found = index.upsert_documents(twice, batch=batch)
            assert (found.replaced, found.unchanged) == (["a"], [])
            assert index.get(["a"])[0].metadata == {}
        assert model.texts == []


def test_nothing_is_deleted_before_everything_new_is_stored(place, model):
    def stream():
        yield from document("a", "ONE")
        raise OSError("the disk with the documents is gone")

    with M3Index.open(place, model=model) as index:
        index.upsert_documents(document("a", "one", "two"))
        with pytest.raises(OSError, match="documents"):
            index.upsert_documents(stream())
        assert "a#1" in stored(index)
        assert index.upsert_documents(document("a", "ONE")).removed == ["a#1"]
        assert stored(index) == {"a#0": "ONE"}


def test_progress_counts_all_passages(place, model):
    reports: list[tuple[str, int, int | None]] = []
    with M3Index.open(place, model=model) as index:
        index.upsert_documents(document("a", *"abcdef"))
        new = document("a", *"abcDEFG")
        index.upsert_documents(new, batch=2, progress=lambda *report: reports.append(report))
        assert reports[-1] == ("adding passages", 7, 7)
        done = [report[1] for report in reports]
        assert done == sorted(done)


def test_without_removing(place, model):
    with M3Index.open(place, model=model) as index:
        index.upsert_documents(document("a", "one", "two"))
        found = index.upsert_documents(document("a", "1"), remove=False)
        assert (found.replaced, found.removed) == (["a#0"], [])
        assert stored(index) == {"a#0": "1", "a#1": "two"}


async def test_async(place, model):
    with M3Index.open(place, model=model) as index:
        await index.aupsert_documents(document("a", "one", "two"))
        found = await index.aupsert_documents(document("a", "one"), batch=1, durable=True)
        assert found.removed == ["a#1"]


def test_a_document_that_is_encoded_together_is_encoded_again_as_a_whole(place, model):
    whole = document("a", "Ferns like shade.", "They need rain.")
    with M3Index.open(place, model=model, context="document") as index:
        index.upsert_documents([*whole, *document("b", "Cacti like sun."), Passage("c", "Alone.")])
        model.texts.clear()
        found = index.upsert_documents([whole[0], *document("b", "Cacti like sun.")])
        assert (found.replaced, found.unchanged, found.removed) == (["a#0"], ["b#0"], ["a#1"])
        assert model.texts == ["Ferns like shade."]
        new = [replace(whole[0], metadata={"n": 1})]
        assert index.upsert_documents(new).replaced == ["a#0"]
        assert model.texts == ["Ferns like shade."]
        alone = model.model.encode(["Ferns like shade."]).dense[0]
        assert index.dense_vectors(["a#0"])[0] == pytest.approx(alone, abs=1e-5)
        assert index.upsert_documents(["Other.", Passage("c", "Alone.")]).unchanged == ["c"]


@pytest.mark.parametrize("method", ["add", "upsert_documents"])
def test_one_bad_passage_of_a_list_stores_nothing(place, model, method):
    passages = [Passage(f"p{i}", f"number {i}", {"source": f"{i}.md"}) for i in range(300)]
    passages[200] = Passage("p200", "bad", {"when": object(), "source": "200.md"})
    with M3Index.open(place, model=model) as index:
        with pytest.raises(InputError) as caught:
            getattr(index, method)(passages)
        for part in ("passages[200]", "'p200'", "(from '200.md')", "metadata['when']"):
            assert part in str(caught.value)
        assert (len(index), model.texts) == (0, [])


def test_one_bad_passage_of_a_stream_is_named(place, model):
    stream = (Passage(f"p{i}", "x", {"n": i if i < 9 else float("nan")}, "d") for i in range(10))
    message = r"passages\[9\]: Passage 'p9' \(from 'd'\)"
    with M3Index.open(place, model=model) as index, pytest.raises(InputError, match=message):
        index.add(stream, batch=3)
