"""A document that changed: its old text is gone, in later sessions too; the rest is not encoded."""

import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter, get_leaf_nodes
from llama_index.core.schema import Document, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore

from m3rag import M3Index
from m3rag.llama_index import M3Embedding, M3EnsembleRetriever, M3NodeParser, M3VectorStore
from tests.llama_index.conftest import hierarchy

OLD = Document(
    id_="rules.md",
    text="Water the ferns on Monday.\n\nWater the cacti on Friday.\n\nThe key is in the red box.",
    metadata={"lang": "en"},
)
NEW = Document(id_="rules.md", text="Water the ferns on Monday.", metadata={"lang": "en"})
OTHER = Document(id_="other.md", text="The hub is in the cellar.", metadata={"lang": "en"})


def parser(model):
    return M3NodeParser(model=model, max_tokens=16, overlap=0)


def splitter():
    return SentenceSplitter(chunk_size=14, chunk_overlap=0, include_metadata=False)


def texts(store):
    return {node.text for node in store.get_nodes()}


@pytest.fixture(params=["stored", "document"])
def folder(request, tmp_path, fresh):
    """Open a folder again and again, as later sessions do."""
    context = "document" if request.param == "document" else "passage"
    stores: list[M3VectorStore] = []

    def open_again():
        for store in stores:
            store.close()
        stores.append(M3VectorStore(path=tmp_path / "kb", model=fresh, context=context))
        return stores[-1]

    yield open_again
    stores[-1].close()


@pytest.fixture(params=[parser, lambda model: splitter()], ids=["M3NodeParser", "SentenceSplitter"])
def steps(request):
    return lambda store: [request.param(store.index.model), store.embed_model]


@pytest.mark.parametrize("kind", [M3VectorStore, M3EnsembleRetriever])
def test_a_constructor_over_a_folder(fresh, tmp_path, kind):
    settings = {"path": tmp_path / "kb", "model": fresh, "node_parser": parser(fresh)}
    with kind.from_documents([OLD, OTHER], **settings) as first:
        assert first.count() == 4
    before = fresh.encoded
    with kind.from_documents([NEW], **settings) as later:
        assert texts(later) == {NEW.text, OTHER.text}
    assert fresh.encoded - before <= 1
    before = fresh.encoded
    with kind.from_documents([NEW, OTHER], **settings) as again:
        assert again.count() == 2
    assert fresh.encoded == before


def test_nodes_of_a_document_over_a_folder(fresh, tmp_path):
    nodes = parser(fresh)([OLD])
    with M3VectorStore.from_nodes(nodes, path=tmp_path / "kb", model=fresh):
        pass
    with M3VectorStore.from_nodes(nodes[:1], path=tmp_path / "kb") as later:
        assert later.count() == 1


def test_documents_that_are_empty_now(fresh, tmp_path):
    settings = {"path": tmp_path / "kb", "model": fresh}
    M3VectorStore.from_documents([OLD, OTHER], **settings).close()
    with M3VectorStore(**settings) as store:
        result = store.upsert_documents([Document(id_="rules.md", text=""), OTHER])
        assert (len(result.removed), len(result.unchanged)) == (1, 1)
        assert texts(store) == {OTHER.text}


def run(store, steps, documents, docstore=None, strategy=DocstoreStrategy.UPSERTS):
    pipeline = IngestionPipeline(
        transformations=steps(store),
        vector_store=store,
        docstore=docstore or SimpleDocumentStore(),
        docstore_strategy=strategy,
        disable_cache=True,
    )
    pipeline.run(documents=documents)


def test_a_pipeline_with_a_fresh_docstore(folder, steps):
    run(folder(), steps, [OLD, OTHER])
    store = folder()
    run(store, steps, [NEW])
    assert texts(store) == {NEW.text, OTHER.text}
    store = folder()
    run(store, steps, [NEW, OTHER])
    assert texts(store) == {NEW.text, OTHER.text}
    assert store.count() == 2


def test_a_pipeline_without_a_docstore(folder, steps):
    for documents in ([OLD, OTHER], [NEW], [NEW]):
        store = folder()
        IngestionPipeline(transformations=steps(store), vector_store=store, disable_cache=True).run(
            documents=documents
        )
    assert texts(store) == {NEW.text, OTHER.text}


def test_a_pipeline_with_a_persisted_docstore(folder, steps, fresh, tmp_path):
    run(folder(), steps, [OLD, OTHER], docstore := SimpleDocumentStore())
    docstore.persist(str(tmp_path / "docstore.json"))
    docstore = SimpleDocumentStore.from_persist_path(str(tmp_path / "docstore.json"))
    store = folder()
    before = fresh.encoded
    run(store, steps, [OLD, OTHER], docstore)
    assert fresh.encoded == before
    run(store, steps, [NEW], docstore, DocstoreStrategy.UPSERTS_AND_DELETE)
    assert texts(store) == {NEW.text}


def open_index(store, steps):
    split, embed_model = steps(store)
    return VectorStoreIndex.from_vector_store(
        store, embed_model=embed_model, transformations=[split]
    )


def test_refreshed_documents(folder, steps, fresh):
    assert open_index(folder(), steps).refresh_ref_docs([OLD, OTHER]) == [True, True]
    store = folder()
    index = open_index(store, steps)
    index.refresh_ref_docs([NEW, OTHER])
    assert texts(store) == {NEW.text, OTHER.text}
    assert store.count() == 2
    before = fresh.encoded
    assert index.refresh_ref_docs([NEW, OTHER]) == [False, False]
    assert fresh.encoded == before


def test_updated_and_deleted_documents(folder, steps):
    index = open_index(folder(), steps)
    for document in (OLD, OTHER):
        index.insert(document)
    store = folder()
    open_index(store, steps).update_ref_doc(NEW)
    assert texts(store) == {NEW.text, OTHER.text}
    store = folder()
    open_index(store, steps).delete_ref_doc("rules.md", delete_from_docstore=True)
    assert texts(store) == {OTHER.text}


async def test_updated_documents_asynchronously(folder, steps):
    await open_index(folder(), steps).ainsert(OLD)
    store = folder()
    await open_index(store, steps).arefresh_ref_docs([NEW])
    assert texts(store) == {NEW.text}


def test_an_index_from_documents_over_a_folder(folder, steps, fresh):
    for documents in ([OLD, OTHER], [NEW, OTHER]):
        store = folder()
        split, embed_model = steps(store)
        VectorStoreIndex.from_documents(
            documents,
            storage_context=StorageContext.from_defaults(vector_store=store),
            embed_model=embed_model,
            transformations=[split],
        )
    assert texts(store) == {NEW.text, OTHER.text}


def test_a_second_session_encodes_nothing(fresh, tmp_path):
    nodes = [TextNode(id_=f"{i}", text=f"Plant {i} likes water.") for i in range(100)]
    M3VectorStore.from_nodes(nodes, path=tmp_path / "kb", model=fresh).close()
    before = fresh.encoded
    with M3VectorStore(path=tmp_path / "kb", model=fresh) as store:
        assert store.add(nodes) == [node.node_id for node in nodes]
        M3EnsembleRetriever(store).add_nodes(nodes)
    assert fresh.encoded == before


def test_nodes_of_a_document_in_several_calls(fresh):
    """`VectorStoreIndex` adds nodes in batches: those of the batch before must stay."""
    store = M3VectorStore(M3Index.open(model=fresh))
    nodes = parser(fresh)([OLD])
    for node in nodes:
        store.add([node])
    assert store.count() == len(nodes) == 3


def test_nodes_whose_document_has_no_hash_stay(fresh):
    store = M3VectorStore(M3Index.open(model=fresh))
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="notes")}
    for text in ("Ferns like shade.", "Cacti like sun."):
        store.add([TextNode(text=text, relationships=source)])
    assert store.count() == 2


def test_leaves_and_parents_in_several_calls(fresh):
    """A parent with a single child has the same text at the same place."""
    nodes = hierarchy([NEW], [128, 64])
    leaves = get_leaf_nodes(nodes)
    store = M3VectorStore(M3Index.open(model=fresh))
    store.add(leaves)
    store.add([node for node in nodes if node not in leaves])
    assert store.count() == len(nodes) == 2


def test_passages_of_others_stay(fresh):
    """`m3rag index` stores passages that are no nodes, perhaps of the same file."""
    index = M3Index.open(model=fresh)
    store = M3VectorStore(index)
    index.add(["A passage that is no node."])
    store.add(parser(fresh)([OLD]))
    assert store.count() == 4


def test_embedded_nodes_that_are_unchanged_are_not_encoded(fresh):
    store = M3VectorStore(M3Index.open(model=fresh))
    nodes = M3Embedding(model=fresh)(parser(fresh)([OLD]))
    store.add(nodes)
    fresh.encode([f"something else {i}" for i in range(8)])
    before = fresh.encoded
    store.add(nodes)
    assert fresh.encoded == before
