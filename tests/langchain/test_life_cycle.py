"""Folders across sessions: opening, updating, reading and closing."""

import pytest
from langchain_classic.indexes import SQLRecordManager  # noqa: TID251  # keeps its records in a file
from langchain_core.documents import Document
from langchain_core.indexing import index
from langchain_text_splitters import CharacterTextSplitter

from m3rag.errors import ClosedError, InputError
from m3rag.langchain import M3EnsembleRetriever, M3SparseRetriever, M3TextSplitter, M3VectorStore
from tests.langchain.conftest import DOCUMENTS, QUERY, ids

KINDS = [M3EnsembleRetriever, M3SparseRetriever, M3VectorStore]
LONG = "\n\n".join(f"Paragraph {i} of a text about plants, water and light." for i in range(8))
SHORT = "\n\n".join(LONG.split("\n\n")[:3])


@pytest.mark.parametrize("kind", KINDS)
def test_a_second_session_encodes_nothing_again(fresh, tmp_path, kind):
    with kind.from_documents(DOCUMENTS, model=fresh, path=tmp_path / "kb") as first:
        assert first.count() == len(DOCUMENTS)
    encoded = fresh.encoded
    with kind.from_documents(DOCUMENTS, model=fresh, path=tmp_path / "kb") as again:
        assert again.count() == len(DOCUMENTS)
    assert fresh.encoded == encoded
    with pytest.raises(ClosedError):
        again.add_documents(DOCUMENTS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_opened_with_its_own_model(tmp_path, kind):
    """Not with the default model, which would be downloaded."""
    kind.from_documents(DOCUMENTS, model="tiny", path=tmp_path / "kb").close()
    for open_again in (
        lambda: kind(path=tmp_path / "kb"),
        lambda: kind(tmp_path / "kb"),
        lambda: kind(str(tmp_path / "kb")),
        lambda: kind.from_documents([], path=tmp_path / "kb"),
    ):
        with open_again() as store:
            assert store.count() == len(DOCUMENTS)
            assert store.index.model.name == "tiny"


def split(text, splitter):
    return splitter.split_documents([Document(text, id="a.md", metadata={"source": "a.md"})])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("of", ["m3rag", "langchain"])
def test_a_document_that_got_shorter_loses_its_old_end(fresh, tmp_path, kind, of):
    splitter = (
        M3TextSplitter(fresh, chunk_size=24, chunk_overlap=0)
        if of == "m3rag"
        else CharacterTextSplitter("\n\n", chunk_size=60, chunk_overlap=0)
    )
    other = Document("Paragraph 7 of another text.", id="b", metadata={"source": "b.md"})
    new = split(SHORT, splitter)
    kind.from_documents([*split(LONG, splitter), other], model=fresh, path=tmp_path / "kb").close()
    encoded = fresh.encoded
    with kind.from_documents(new, path=tmp_path / "kb", model=fresh) as again:
        assert fresh.encoded == encoded  # what is left was stored already
        stored = again.documents()
        assert {d.page_content for d in stored} == {d.page_content for d in [*new, other]}


def test_the_key_of_the_source_can_be_chosen(empty):
    store = M3VectorStore(empty)
    old = [Document(f"text {i}", id=str(i), metadata={"source": "x", "url": "u"}) for i in range(3)]
    store.add_documents(old)
    new = [Document("text 9", id="9", metadata={"source": "x", "url": "u"})]
    kept = store.upsert_documents(new, source_id_key=None)
    assert (kept.added, kept.removed) == (["9"], [])
    assert sorted(store.upsert_documents(new, source_id_key="url").removed) == ["0", "1", "2"]
    assert ids(store.documents()) == ["9"]


def test_an_added_document_leaves_others_of_its_source(empty):
    store = M3VectorStore(empty)
    for i in range(3):
        store.add_documents([Document(f"page {i}", metadata={"source": "x.pdf"})])
    assert store.count({"source": "x.pdf"}) == 3


async def test_retrievers_add_and_delete_documents(tiny):
    retriever = await M3EnsembleRetriever.afrom_texts(["a fern"], ids=["0"], model=tiny)
    assert retriever.add_documents([Document("a pump", id="1")]) == ["1"]
    assert await retriever.aadd_documents([Document("a cactus", id="2")]) == ["2"]
    result = await retriever.aupsert_documents([Document("a cactus", id="2")])
    assert result.unchanged == ["2"]
    assert ids(retriever.invoke("cactus", k=1)) == ["2"]
    assert await retriever.adelete(["2"])
    assert retriever.count() == 2
    made = await M3SparseRetriever.afrom_documents(DOCUMENTS, model=tiny)
    assert made.count({"lang": "en"}) == 3


def test_documents_are_listed(shared_index):
    store = M3VectorStore(shared_index)
    everything = store.documents()
    assert sorted(ids(everything)) == sorted(ids(DOCUMENTS))
    assert store.documents(limit=2) + store.documents(offset=2) == everything
    assert store.documents(limit=0) == []
    assert set(ids(store.documents({"lang": "en"}, limit=9))) == {"fern", "cactus", "pump"}
    assert ids(store.documents(lambda document: document.id == "pump")) == ["pump"]


async def test_metadata_change_without_encoding(fresh):
    store = M3VectorStore.from_documents(DOCUMENTS, model=fresh)
    encoded = fresh.encoded
    assert store.update_metadata({"seen": True}, filter={"lang": "en"}) == 3
    assert await store.aupdate_metadata({"seen": False}, ["pump", "unknown"]) == 1
    own = M3VectorStore(store, base_filter={"lang": "es"})
    assert own.update_metadata({"seen": True}, ["fern", "helecho"]) == 1
    assert fresh.encoded == encoded
    assert set(ids(store.documents({"seen": True}))) == {"fern", "cactus", "helecho"}
    with pytest.raises(InputError, match="either ids or a non-empty filter"):
        store.update_metadata({"seen": True})


@pytest.mark.parametrize("kind", KINDS)
def test_str_says_something(shared_index, kind):
    text = str(kind(shared_index, base_filter={"lang": "en"}))
    assert text == repr(kind(shared_index, base_filter={"lang": "en"}))
    assert text.startswith(f"{kind.__name__}(M3Index(in memory, ")
    assert "base_filter={'lang': 'en'}" in text
    assert len(text) < 300


def test_a_dense_store_stores_no_colbert_vectors(tiny, tmp_path):
    for settings, mode in [
        ({}, "off"),
        ({"weights": (1, 1, 0)}, "off"),
        ({"weights": (1, 0, 1)}, "stored"),
        ({"weights": "default"}, "stored"),
        ({"colbert": "on-demand"}, "on-demand"),
    ]:
        with M3VectorStore(model=tiny, **settings) as store:
            assert store.index.manifest.colbert == mode
    M3EnsembleRetriever.from_documents(DOCUMENTS, model=tiny, path=tmp_path / "kb").close()
    with M3VectorStore(path=tmp_path / "kb") as store:
        assert store.index.manifest.colbert == "stored"  # an existing index keeps its own
    with M3SparseRetriever(path=tmp_path / "new", model=tiny) as retriever:
        assert retriever.index.manifest.colbert == "off"


@pytest.mark.parametrize("kind", KINDS)
def test_settings_of_a_new_index(tiny, kind):
    done = []
    made = kind.from_documents(
        DOCUMENTS,
        model=tiny,
        context="document",
        colbert="off",
        ids=[f"doc-{i}" for i in range(len(DOCUMENTS))],
        analyzer=lambda texts: [[len(text)] for text in texts],
        progress=lambda stage, n, total: done.append((stage, n, total)),
    )
    manifest = made.index.manifest
    assert (manifest.context, manifest.colbert, manifest.analyzer) == ("document", "off", "custom")
    assert done[-1] == ("adding passages", 5, 5)
    assert "doc-0" in ids(made.documents())


CLEANUPS = {
    # added, skipped, deleted of a changed source "a" and a missing source "b"; texts left
    "incremental": ((1, 2, 1), 6),
    "full": ((1, 2, 4), 3),
    "scoped_full": ((1, 2, 1), 6),
    None: ((1, 2, 0), 7),
}


@pytest.mark.parametrize("cleanup", CLEANUPS)
def test_the_indexing_api_across_sessions(tmp_path, cleanup):
    """The folder of the index and the file of the records are opened again in each session."""
    first = [
        Document(f"passage {i} of {name}", metadata={"source": name})
        for name in ("a", "b")
        for i in range(3)
    ]
    changed = [*first[:2], Document("new", metadata={"source": "a"})]
    expected, left = CLEANUPS[cleanup]
    assert session(tmp_path, first, cleanup)[0] == (6, 0, 0)
    assert session(tmp_path, first, cleanup)[0] == (0, 6, 0)
    done, texts = session(tmp_path, changed, cleanup)
    assert done == expected
    assert len(texts) == left
    assert ("passage 2 of a" in texts) == (cleanup is None)


def session(folder, documents, cleanup):
    manager = SQLRecordManager("kb", db_url=f"sqlite:///{folder}/records.db")
    manager.create_schema()
    with M3VectorStore(path=folder / "kb", model="tiny") as store:
        result = index(
            documents, manager, store, cleanup=cleanup, source_id_key="source",
            key_encoder="blake2b",
        )  # fmt: skip
        texts = {document.page_content for document in store.documents()}
    manager.engine.dispose()
    return (result["num_added"], result["num_skipped"], result["num_deleted"]), texts


def test_the_same_query_after_closing(tiny):
    with M3EnsembleRetriever.from_documents(DOCUMENTS, model=tiny) as retriever:
        assert retriever.invoke(QUERY)
    with pytest.raises(ClosedError):
        retriever.invoke(QUERY)
    retriever.close()  # does nothing
