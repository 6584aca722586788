"""The nodes of an index as a docstore, in LlamaIndex's own classes that need one."""

import inspect

import pytest
from llama_index.core import StorageContext
from llama_index.core.node_parser import get_leaf_nodes
from llama_index.core.postprocessor import PrevNextNodePostprocessor
from llama_index.core.retrievers import AutoMergingRetriever
from llama_index.core.schema import Document
from llama_index.core.storage.docstore import BaseDocumentStore, SimpleDocumentStore

from m3rag.errors import InputError
from m3rag.llama_index import M3DocumentStore, M3EnsembleRetriever, M3NodeParser, M3VectorStore
from tests.llama_index.conftest import hierarchy, make_nodes, where

TEXT = " ".join(f"Fern number {i} likes shade and water." for i in range(9))
QUERY = "Fern number 4 likes shade and water."


@pytest.fixture(scope="module")
def both(tiny):
    """The same nodes in a store and in a docstore of LlamaIndex."""
    nodes = M3NodeParser(model=tiny, max_tokens=16, overlap=0).get_nodes_from_documents(
        [Document(id_="ferns.md", text=TEXT), Document(id_="moss.md", text="Moss is small.")]
    )
    docstore = SimpleDocumentStore()
    docstore.add_documents(nodes)
    return M3VectorStore.from_nodes(nodes, model=tiny), docstore


@pytest.mark.parametrize("mode", ["previous", "next", "both"])
@pytest.mark.parametrize("num_nodes", [1, 3])
def test_previous_and_next_nodes(both, mode, num_nodes):
    store, docstore = both
    found = M3EnsembleRetriever(store, similarity_top_k=2).retrieve(QUERY)
    widened = [
        PrevNextNodePostprocessor(docstore=each, num_nodes=num_nodes, mode=mode).postprocess_nodes(
            found
        )
        for each in (docstore, store.docstore)
    ]
    assert [n.node_id for n in widened[0]] == [n.node_id for n in widened[1]]
    assert [n.text for n in widened[0]] == [n.text for n in widened[1]]
    assert len(widened[1]) > len(found)


@pytest.mark.parametrize("ratio", [0.2, 0.5])
def test_merging_with_the_retriever_of_llama_index(tiny, ratio):
    """It looks parents up, so they are stored with the leaves."""
    levels = hierarchy([Document(id_="ferns.md", text=TEXT)], [80, 20])
    leaves = [leaf.node_id for leaf in get_leaf_nodes(levels)]
    docstore = SimpleDocumentStore()
    docstore.add_documents(levels)
    store = M3VectorStore.from_nodes(levels, model=tiny)
    retriever = M3EnsembleRetriever(store, node_ids=leaves)
    expected, found = (
        AutoMergingRetriever(
            retriever, StorageContext.from_defaults(docstore=each), simple_ratio_thresh=ratio
        ).retrieve(QUERY)
        for each in (docstore, store.docstore)
    )
    assert [(one.node_id, one.text) for one in found] == [(o.node_id, o.text) for o in expected]
    assert any(one.node_id not in leaves for one in found)


async def test_it_answers_like_a_docstore(both):
    store, docstore = both
    view = store.docstore
    assert isinstance(view, M3DocumentStore)
    assert issubclass(M3DocumentStore, BaseDocumentStore)
    assert view.docs == docstore.docs
    name = next(iter(docstore.docs))
    for ids in ([name], [*docstore.docs]):
        assert view.get_nodes(ids) == docstore.get_nodes(ids) == await view.aget_nodes(ids)
    assert view.document_exists(name)
    assert await view.adocument_exists(name)
    assert not view.document_exists("x")
    assert view.get_document_hash(name) == docstore.get_document_hash(name)
    assert await view.aget_document_hash("x") is None
    hashes = view.get_all_document_hashes()
    assert hashes == docstore.get_all_document_hashes() == await view.aget_all_document_hashes()
    documents = view.get_all_ref_doc_info()
    assert documents == await view.aget_all_ref_doc_info()
    for document, info in docstore.get_all_ref_doc_info().items():
        assert sorted(documents[document].node_ids) == sorted(info.node_ids)
        assert view.get_ref_doc_info(document) == documents[document]
    assert await view.aget_ref_doc_info("x") is None
    assert view.get_node("x", raise_error=False) is None
    with pytest.raises(ValueError, match="No node with the id 'x' is stored"):
        view.get_node("x")


async def test_it_refuses_to_be_written(both):
    writing = ["add_documents", "async_add_documents", "delete_document", "adelete_document"]
    writing += ["delete_ref_doc", "adelete_ref_doc", "set_document_hash", "aset_document_hash"]
    writing += ["set_document_hashes", "aset_document_hashes"]
    for name in writing:
        method = getattr(both[0].docstore, name)
        given: tuple[object, ...] = ("a", "b") if name.endswith("hash") else ([],)
        with pytest.raises(InputError, match="Add nodes to the M3VectorStore"):
            await method(*given) if inspect.iscoroutinefunction(method) else method(*given)


def test_base_filters_hold(tiny):
    store = M3VectorStore.from_nodes(make_nodes(), model=tiny)
    docstore = M3VectorStore(store, base_filters=where("lang", "de")).docstore
    assert isinstance(docstore, M3DocumentStore)
    assert [*docstore.docs] == ["boden"]
    assert docstore.get_document("shade", raise_error=False) is None
    assert docstore.get_ref_doc_info("plants.md") is None
