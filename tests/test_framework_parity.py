"""Both frameworks return the same ids, order and scores for the same corpus and queries."""

import asyncio
from operator import attrgetter

import pytest
from langchain_core.documents import Document
from llama_index.core.schema import Document as Source
from llama_index.core.schema import TextNode

from m3rag import langchain, llama_index
from m3rag.errors import ArgumentError
from tests.conftest import TEXTS

QUERIES = ["What is BGE M3?", "soil moisture", "¿Cómo se riega una planta?", "土壌の水分", "🌱"]
CHANNELS = ("dense", "sparse", "colbert", "bm25")
LONG = (
    "# Plants\n\n## Ferns\n\n" + "Ferns like shade. They need water. " * 30 + "\n\n# 植物\n\n植物。"
)
SETTINGS = [
    {},
    {"weights": "cross-lingual"},
    {"weights": (0.2, 0.5, 0.3), "candidates": 10},
    {"weights": {"dense": 1, "bm25": 0.1}},
    {"fusion": "rrf"},
    {"weights": [1, 2, 0], "fusion": "rrf"},
    {"channels": ["dense", "sparse"]},
]


RETRIEVER = ("M3EnsembleRetriever", "M3SparseRetriever")
SAME = [
    # LangChain's name, and LlamaIndex's
    ("M3Embeddings", "M3Embedding"),
    ("M3TextSplitter", "M3NodeParser"),
    ("M3TextSplitter.split_text", "M3NodeParser.split_text"),
    ("M3Reranker", "M3Reranker"),
    ("scores_of", "scores_of"),
    ("retrieval_tool", "retrieval_tool"),
    ("checked_answer", "checked_answer"),
    ("M3Store", "M3MemoryBlock"),
    ("M3Loader", "M3Reader"),
    *(
        (f"{kind}.{left}", f"{kind}.{right}")
        for kind in (*RETRIEVER, "M3VectorStore")
        for left, right in [
            ("from_texts", "from_nodes"),
            ("from_documents", "from_documents"),
            ("afrom_documents", "afrom_documents"),
            ("add_documents", "add_documents"),
            ("aadd_documents", "aadd_documents"),
            ("upsert_documents", "upsert_documents"),
            ("aupsert_documents", "aupsert_documents"),
            ("documents", "get_nodes"),
            ("count", "count"),
            ("delete", "delete_nodes"),
            ("adelete", "adelete_nodes"),
            ("close", "close"),
            ("__enter__", "__enter__"),
        ]
    ),
]
REFUSING = [
    # a class of each, and a name that it does not have
    ("M3Embeddings", "M3Embedding", "max_lenght"),
    ("M3TextSplitter", "M3NodeParser", "makrdown"),
    ("M3Reranker", "M3Reranker", "topn"),
    ("M3EnsembleRetriever", "M3EnsembleRetriever", "wieghts"),
    ("M3SparseRetriever", "M3SparseRetriever", "neighbors"),
    ("M3VectorStore", "M3VectorStore", "persist_directory"),
]


@pytest.mark.parametrize(("left", "right"), SAME)
def test_both_frameworks_offer_the_same(left, right):
    assert callable(attrgetter(left)(langchain))
    assert callable(attrgetter(right)(llama_index))


@pytest.mark.parametrize(("left", "right", "name"), REFUSING)
def test_both_frameworks_refuse_what_they_do_not_know(left, right, name):
    for module, kind in ((langchain, left), (llama_index, right)):
        with pytest.raises(ArgumentError, match=rf"no argument `{name}`\. Did you mean"):
            getattr(module, kind)(model="tiny", **{name: 1})


@pytest.fixture(scope="module", params=["memory", "folder"])
def corpora(request, tmp_path_factory, tiny):
    """One index filled by each framework, and the documents and nodes in them."""
    at = tmp_path_factory.mktemp("parity")
    paths = {} if request.param == "memory" else {"l": at / "l", "i": at / "i"}
    texts = {f"text-{i:02}": text for i, text in enumerate(TEXTS) if text.strip()}
    metadata = {name: {"n": int(name[-2:])} for name in texts}
    documents = [Document(id=i, page_content=t, metadata=metadata[i]) for i, t in texts.items()]
    nodes = [
        TextNode(id_=i, text=t, metadata=metadata[i], excluded_embed_metadata_keys=["n"])
        for i, t in texts.items()
    ]
    left = langchain.M3EnsembleRetriever.from_documents(
        documents, model=tiny, path=paths.get("l")
    ).index
    right = llama_index.M3EnsembleRetriever.from_nodes(nodes, model=tiny, path=paths.get("i")).index
    yield left, right, documents, nodes
    left.close()
    right.close()


def close(number):
    return pytest.approx(number, rel=1e-5, abs=1e-6)  # the engine sums in any order


def of_documents(documents):
    """Return (id, fused score, scores by channel) of LangChain's documents."""
    return [
        (
            document.id,
            close(document.metadata["relevance_score"]),
            close(
                {
                    c: document.metadata[key]
                    for c in CHANNELS
                    if (key := f"{c}_score") in document.metadata
                }
            ),
        )
        for document in documents
    ]


def of_nodes(found):
    """Return (id, fused score, scores by channel) of LlamaIndex's nodes."""
    return [(node.node_id, node.score, node.scores) for node in found]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("query", QUERIES)
def test_ensembles_agree(corpora, settings, query):
    left, right, *_ = corpora
    documents = langchain.M3EnsembleRetriever(index=left, k=6, **settings).invoke(query)
    retriever = llama_index.M3EnsembleRetriever(right, similarity_top_k=6, **settings)
    assert of_documents(documents) == of_nodes(retriever.retrieve(query))


@pytest.mark.parametrize("query", QUERIES)
async def test_ensembles_agree_asynchronously(corpora, query):
    left, right, *_ = corpora
    documents, found = await asyncio.gather(
        langchain.M3EnsembleRetriever(index=left).ainvoke(query),
        llama_index.M3EnsembleRetriever(right).aretrieve(query),
    )
    assert of_documents(documents) == of_nodes(found)


@pytest.mark.parametrize("query", QUERIES)
def test_sparse_retrievers_agree(corpora, query):
    left, right, *_ = corpora
    documents = langchain.M3SparseRetriever(index=left).invoke(query)
    assert of_documents(documents) == of_nodes(llama_index.M3SparseRetriever(right).retrieve(query))


@pytest.mark.parametrize("mode", ["colbert", "all"])
@pytest.mark.parametrize("stored", [False, True])
def test_rerankers_agree(corpora, tiny, mode, stored):
    left, right, documents, nodes = corpora
    left_reranker = langchain.M3Reranker(
        model=tiny, index=left if stored else None, mode=mode, top_n=5
    )
    right_reranker = llama_index.M3Reranker(
        model=tiny, index=right if stored else None, mode=mode, top_n=5
    )
    found = [llama_index.M3NodeWithScore(node=node) for node in nodes]
    ranked = left_reranker.compress_documents(documents, "What is BGE M3?")
    assert of_documents(ranked) == of_nodes(
        right_reranker.postprocess_nodes(found, query_str="What is BGE M3?")
    )


@pytest.mark.parametrize("query", QUERIES)
def test_vector_stores_agree(corpora, query):
    left, right, *_ = corpora
    documents = langchain.M3VectorStore(left).similarity_search_with_score(query, k=5)
    store = llama_index.M3VectorStore(right)
    vector = store.embed_model.get_query_embedding(query)
    found = store.query(
        llama_index.vectorstore.VectorStoreQuery(query_embedding=vector, similarity_top_k=5)
    )
    assert [document.id for document, _ in documents] == found.ids
    assert [score for _, score in documents] == close(found.similarities)


def test_embeddings_agree(tiny):
    left = langchain.M3Embeddings(tiny).embed_documents(TEXTS)
    assert left == llama_index.M3Embedding(model=tiny).get_text_embedding_batch(TEXTS)


def test_splitters_agree(tiny):
    splitter = langchain.M3TextSplitter(tiny, chunk_size=64, chunk_overlap=8)
    parser = llama_index.M3NodeParser(model=tiny, max_tokens=64, overlap=8)
    documents = splitter.split_documents([Document(id="plants.md", page_content=LONG)])
    nodes = parser([Source(text=LONG, id_="plants.md")])
    assert [
        (
            document.page_content,
            document.metadata["start"],
            document.metadata["end"],
            document.metadata.get("headings"),
            document.metadata["document_id"],
        )
        for document in documents
    ] == [
        (
            node.text,
            node.start_char_idx,
            node.end_char_idx,
            node.metadata.get("headings"),
            node.ref_doc_id,
        )
        for node in nodes
    ]


def test_one_framework_reads_the_index_of_the_other(corpora):
    left, right, documents, nodes = corpora
    ids = [node.node_id for node in nodes]
    read = llama_index.M3VectorStore(left).get_nodes(ids)
    assert [(n.node_id, n.text, n.metadata) for n in read] == [
        (d.id, d.page_content, d.metadata) for d in documents
    ]
    (document,) = langchain.M3VectorStore(right).get_by_ids(ids[:1])
    assert (document.id, document.page_content) == (nodes[0].node_id, nodes[0].text)
    assert document.metadata["n"] == nodes[0].metadata["n"]
