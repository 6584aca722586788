"""Several indexes by name, and the part of an index that a filter leaves."""

import pytest

from m3rag import M3Index, Passage
from m3rag.bases import KnowledgeBases, NoSuchBaseError, within
from m3rag.errors import ClosedError, FormatError, InputError, InUseError
from m3rag.index.contents import documents


@pytest.fixture(scope="module")
def folders(tiny, tmp_path_factory):
    above = tmp_path_factory.mktemp("bases")
    for name in ("one", "two=2"):
        with M3Index.open(above / name, model=tiny) as index:
            index.add([f"Passage of {name}."])
    return above


def test_knowledge_bases_share_a_model_of_the_same_name(folders):
    specs = [str(folders / "one"), f"two={folders / 'two=2'}"]
    with KnowledgeBases.open(specs) as bases:
        assert (bases.names, bases.default) == (("one", "two"), None)
        one, two = bases.get("one"), bases.get("two")
        assert one.model is two.model is bases.models["tiny"]
        assert two.search("Passage", 1)[0].passage.text == "Passage of two=2."
        with pytest.raises(NoSuchBaseError, match=r"'three'. There are: one, two\."):
            bases.get("three")
        with pytest.raises(InUseError):
            KnowledgeBases.open([str(folders / "one")])
    assert one.closed
    assert two.closed
    with KnowledgeBases.open([specs[0]], model="tiny") as bases:
        assert bases.default == "one"
    with KnowledgeBases.open([], model="tiny") as bases:
        assert (bases.names, [*bases.models]) == ((), ["tiny"])


def test_names_and_places_that_cannot_be(folders):
    one = str(folders / "one")
    for specs, kind, reason in (
        ([one, f"one={folders / 'two=2'}"], InputError, "Two knowledge bases are named 'one'"),
        ([str(folders / "two=2")], InputError, "needs a name.*NAME="),
        ([str(folders / "none")], FormatError, "m3rag index DOCUMENTS --to"),
        ([one, str(folders / "none")], FormatError, "holds no knowledge base"),
    ):
        with pytest.raises(kind, match=reason):
            KnowledgeBases.open(specs)
    with M3Index.open(one):  # nothing stayed open after these errors
        pass
    with KnowledgeBases.open([f"new={folders / 'new'}"], model="tiny", create=True) as bases:
        assert bases.get("new").count() == 0


def test_a_part_of_an_index_is_an_index(tiny):
    whole = M3Index.open(model=tiny)
    for name in ("ann", "bob"):
        texts = [f"{name} waters the ferns.", f"{name} likes shade."]
        passages = [
            Passage(f"{name}{i}", text, {"tenant": name, "i": i}, f"{name}.md", 10 * i, 10 * i + 9)
            for i, text in enumerate(texts)
        ]
        whole.add(passages)
    assert within(whole, None) is whole
    part = within(whole, {"tenant": "ann"})
    assert part.search("Who waters ferns?") == whole.search(
        "Who waters ferns?", filter={"tenant": "ann"}
    )
    assert part.search("ferns", filter={"tenant": "bob"}) == []
    assert [p.id for p in part.passages()] == ["ann0", "ann1"]
    assert (len(part), part.get(["ann0", "bob0"])[1]) == (2, None)
    assert part.stored.store.term_weights(["bob0"]) == [{}]
    assert part.dense_vectors(["bob0", "ann0"])[0] is None
    assert [one.id for one in documents(part).documents] == ["ann.md"]
    assert part.expand(part.search("ferns", 1))[0].passage.document_id == "ann.md"

    mine = Passage("new", "Ann's new one.", {"tenant": "ann"})
    part.add([mine])
    assert whole.get(["new"]) == [mine]
    for wrong, reason in (
        (Passage("x", "x", {"tenant": "bob"}), "does not match the filter"),
        (Passage("x", "x"), "does not match the filter"),
        (Passage("bob0", "x", {"tenant": "ann"}), "id 'bob0' is taken"),
        (Passage("x", "x", {"tenant": "ann"}, "bob.md"), "id 'bob.md' is taken"),
    ):
        with pytest.raises(InputError, match=reason):
            part.upsert_documents([wrong])
    with pytest.raises(InputError, match="does not match"):
        part.update_metadata({"tenant": "bob"}, ["new"])
    assert part.update_metadata({"seen": True}, ["new", "bob0"]) == 1
    with pytest.raises(InputError, match="id 'bob0' is taken"):
        part.rename({"new": Passage("bob0", mine.text, {"tenant": "ann"})})
    assert part.delete(["new", "bob0", "bob1"]) == 1
    assert part.delete(filter={"i": 0}) == 1
    assert sorted(p.id for p in whole.passages()) == ["ann1", "bob0", "bob1"]
    part.close()
    assert len(whole) == 3
    whole.close()
    with pytest.raises(ClosedError):
        part.search("ferns")
