"""The documents of an index: listed, put together from passages, added as text."""

import pytest

from m3rag import M3Index, Passage
from m3rag.errors import InputError
from m3rag.index.contents import add_text, document, documents, joined, pieces


def passage(start, text, end=None, **more):
    stop = start + len(text) if end is None and start is not None else end
    return Passage(f"p{start}", text, document_id="d", start=start, end=stop, **more)


def test_passages_are_joined_at_their_places():
    text = "Ferns like shade. Cacti like sun.\n\nRelays click at noon."
    spans = [(0, 17), (0, 33), (18, 33), (35, 56)]
    overlapping = [passage(start, text[start:end]) for start, end in spans]
    assert joined(overlapping) == text
    assert list(pieces(overlapping)) == [text[:17], text[17:33], "", text[33:]]
    assert joined([passage(0, "A"), passage(2, "B"), passage(103, "C")]) == "A\nB" + (
        " " * 98 + "\n\nC"
    )
    assert joined([passage(0, "A"), passage(102, "B")]) == "A\n\n…\n\nB"
    assert joined([passage(None, "A"), passage(None, "B"), passage(3, "C")]) == "A\n\nB\n\nC"
    assert joined([]) == ""


def test_documents_are_listed_and_put_together(tiny):
    with M3Index.open(model=tiny) as index:
        index.add(
            [
                Passage("b#1", "Second.", {"title": "B", "n": 2}, "b", 10, 17),
                Passage("b#0", "First.", {"title": "B", "n": 1}, "b", 0, 6, ("Part",)),
                Passage("alone", "By itself.", {"page": 3}),
                "A string.",
            ]
        )
        [anonymous] = [one.id for one in index.passages() if one.text == "A string."]
        for limit in (1, 2, 3, 100):
            listed, after = [], None
            while True:
                page = documents(index, after=after, limit=limit)
                assert len(page.documents) <= limit
                listed += page.documents
                after = page.to_dict()["next"]
                if after is None:
                    break
            assert {one.id for one in listed} == {"alone", "b", anonymous}
            assert len(listed) == 3
        by_id = {one.id: one.to_dict() for one in listed}
        assert by_id["b"] == {
            "id": "b",
            "title": "B",
            "passages": 2,
            "metadata": {"title": "B", "n": 1},
        }
        assert by_id["alone"]["metadata"] == {}
        whole = document(index, "b")
        assert whole.to_dict() | {"passages": []} == {
            "id": "b",
            "title": "B",
            "metadata": {"title": "B"},
            "text": "First.  \n\nSecond.",
            "passages": [],
        }
        first = whole.to_dict()["passages"][0]
        assert (first["adds"], first["start"], first["headings"]) == ("First.", 0, ["Part"])
        assert whole.position("b#1") == 1
        with pytest.raises(InputError, match=r"'b' has no passage 'alone'"):
            whole.position("alone")
        assert document(index, "alone").to_dict()["passages"][0]["page"] == 3
        assert document(index, "b#0") is None
        for wrong in ({"limit": 0}, {"after": 3}):
            with pytest.raises(InputError):
                documents(index, **wrong)


def test_text_is_added_and_replaced_as_a_document(tiny):
    with M3Index.open(model=tiny) as index:
        done = add_text(index, "# Ferns\r\n\r\nThey like shade.", id="f", metadata={"n": 1})
        assert done.added == ["f#0"]
        found = document(index, "f")
        assert (found.title, found.text) == ("Ferns", "# Ferns\n\nThey like shade.")
        assert found.metadata["n"] == 1
        assert add_text(index, "Cacti like sun.", id="f", title="Cacti").replaced == ["f#0"]
        assert (document(index, "f").title, index.count()) == ("Cacti", 1)
        for wrong in (
            {"id": " "},
            {"text": ""},
            {"text": "\ud800"},
            {"id": "\ud800"},
            {"title": 3},
            {"title": ""},
            {"metadata": [1]},
            {"metadata": {"k": object()}},
        ):
            with pytest.raises(InputError):
                add_text(index, **{"text": "x", "id": "x", **wrong})
        assert index.count() == 1
