"""An index is found in whatever holds it, and opened with its own model."""

import pytest

from m3rag import M3Index, shared_model
from m3rag.errors import FormatError, InputError
from m3rag.frameworks import held_filters, index_of, model_of, open_index
from m3rag.langchain import M3Embeddings, M3EnsembleRetriever, M3VectorStore


@pytest.fixture
def index(tiny):
    with M3Index.open(model=tiny) as index:
        yield index


def test_an_index_in_something_that_holds_it(index):
    store = M3VectorStore(index)
    holders = [index, store, store.as_retriever(), M3EnsembleRetriever(index=index)]
    assert all(index_of(holder) is index for holder in holders)


def test_the_filters_of_what_holds_an_index(index):
    store = M3VectorStore(index, base_filter={"tenant": "a"})
    retriever = M3EnsembleRetriever(index=index, base_filter={"lang": "en"})
    for holder, expected in [
        (index, []),
        (store, [{"tenant": "a"}]),
        (store.as_retriever(), [{"tenant": "a"}]),
        (retriever, [{"lang": "en"}]),
        ("kb", []),
        (7, []),
    ]:
        assert held_filters(holder, "base_filter") == expected


def test_a_folder_is_opened_with_the_shared_model_of_its_name(tmp_path):
    model = shared_model("tiny")
    with M3Index.open(tmp_path / "kb", model=model) as index:
        index.add(["Ferns like shade."])
    for find in (index_of, open_index):
        with find(str(tmp_path / "kb")) as again:
            assert again.model is model
            assert len(again) == 1


def test_a_folder_without_an_index(tmp_path):
    with pytest.raises(FormatError, match="typo does not exist"):
        index_of(tmp_path / "typo", model="tiny")
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("thing", [7, None, M3Index, ["kb"], object()])
def test_something_without_an_index(thing):
    with pytest.raises(InputError, match=r"`index` must be an M3Index, an M3VectorStore or a ret"):
        index_of(thing)


def test_a_path_of_another_kind():
    with pytest.raises(InputError, match="`path` must be the folder of an index, got 7"):
        open_index(7, model="tiny")


def test_a_model_of_another_kind(tiny):
    with pytest.raises(InputError, match=r"`model` must be a model, or a name .* got 7"):
        model_of(7)
    with pytest.raises(InputError, match=r"Pass its model: model=….model"):
        model_of(M3Embeddings(tiny))


def test_a_new_index_gets_its_settings(tiny, tmp_path):
    with open_index(tmp_path / "kb", model=tiny, colbert="off", context="document") as index:
        assert (index.manifest.colbert, index.manifest.context) == ("off", "document")
    with pytest.raises(InputError, match="`colbert` must be"):
        open_index(model=tiny, colbert="none")
