"""Copies share the model and the index; pickles name them and work in another process."""

import copy
import pickle  # noqa: TID251  # users' processes do
import subprocess
import sys

import pytest
from langchain_core.documents import Document

from m3rag import shared_model
from m3rag.errors import InputError
from m3rag.langchain import (
    M3Embeddings,
    M3EnsembleRetriever,
    M3Reranker,
    M3TextSplitter,
    M3VectorStore,
)
from m3rag.langchain.qdrant import M3SparseEmbeddings
from tests.langchain.conftest import DOCUMENTS, QUERY, ids

MODELLED = [M3Embeddings, M3SparseEmbeddings, M3TextSplitter, lambda m: M3Reranker(model=m)]


@pytest.mark.parametrize("kind", MODELLED)
def test_copies_share_the_model(tiny, kind):
    first = kind(tiny)
    for other in (copy.copy(first), copy.deepcopy(first)):
        assert type(other) is type(first)
        assert other.model is tiny


@pytest.mark.parametrize("kind", MODELLED)
def test_a_pickle_names_the_model(kind):
    again = pickle.loads(pickle.dumps(kind(shared_model("tiny"))))
    assert again.model is shared_model("tiny")


def test_settings_are_kept():
    again = pickle.loads(pickle.dumps(M3Embeddings("tiny", max_length=16)))
    assert again.max_length == 16
    splitter = M3TextSplitter("tiny", chunk_size=32, chunk_overlap=0, add_start_index=True)
    documents = [Document("Ferns like shade. " * 20, id="a")]
    for other in (copy.deepcopy(splitter), pickle.loads(pickle.dumps(splitter))):
        assert other.split_documents(documents) == splitter.split_documents(documents)
    reranker = M3Reranker(model="tiny", top_n=2, mode="all")
    found = pickle.loads(pickle.dumps(reranker)).compress_documents(DOCUMENTS, QUERY)
    assert found == reranker.compress_documents(DOCUMENTS, QUERY)


@pytest.mark.parametrize("kind", [M3EnsembleRetriever, M3VectorStore])
def test_copies_share_the_index(shared_index, kind):
    first = kind(shared_index, base_filter={"lang": "en"})
    for other in (copy.copy(first), copy.deepcopy(first)):
        assert other.index is shared_index
        assert other.base_filter == {"lang": "en"}


@pytest.mark.parametrize("kind", [M3EnsembleRetriever, M3VectorStore])
def test_a_folder_is_opened_again_in_another_process(tmp_path, kind):
    store = kind.from_documents(DOCUMENTS, model="tiny", path=tmp_path / "kb")
    (tmp_path / "pickle").write_bytes(pickle.dumps(store))
    same = pickle.loads(pickle.dumps(store))
    assert same.index is store.index
    store.close()
    code = (
        "import pickle, sys; store = pickle.load(open(sys.argv[1], 'rb')); "
        "print(type(store).__name__, store.count(), store.index.model.name)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "pickle"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [kind.__name__, "5", "tiny"]


@pytest.mark.parametrize("kind", [M3EnsembleRetriever, M3VectorStore])
def test_an_index_in_memory_says_that_it_cannot(shared_index, kind):
    with pytest.raises(InputError, match="memory"):
        pickle.dumps(kind(shared_index))


def test_a_copied_retriever_searches(shared_index):
    retriever = M3EnsembleRetriever(shared_index, k=2)
    assert ids(copy.deepcopy(retriever).invoke(QUERY)) == ids(retriever.invoke(QUERY))
