"""Arguments: what a class does not have is refused, what it has is checked where it is given."""

import asyncio
import warnings

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import Document, TextNode

from m3rag import M3Index
from m3rag.errors import ArgumentError, FormatError, InputError
from m3rag.llama_index import (
    M3Embedding,
    M3EnsembleRetriever,
    M3NodeParser,
    M3Reranker,
    M3SparseEmbedding,
    M3SparseRetriever,
    M3VectorStore,
    sparse_encoder,
)
from m3rag.llama_index.store_embedding import M3QueryEmbedding
from tests.llama_index.conftest import make_nodes

NODES = [TextNode(id_="a", text="Ferns like shade.")]
COMPONENTS = [M3Embedding, M3SparseEmbedding, M3QueryEmbedding, M3NodeParser, M3Reranker]
OVER_AN_INDEX = [M3VectorStore, M3EnsembleRetriever, M3SparseRetriever]


@pytest.fixture
def index(tiny):
    return M3Index.open(model=tiny)


@pytest.mark.parametrize(
    ("kind", "name", "meant"),
    [
        (M3NodeParser, "chunk_size", "max_tokens"),
        (M3NodeParser, "chunk_overlap", "overlap"),
        (M3Reranker, "topn", "top_n"),
        (M3Reranker, "top_k", "top_n"),
        (M3Embedding, "max_lenght", "max_length"),
        (M3Embedding, "batch_size", "embed_batch_size"),
        (M3SparseEmbedding, "max_seq_length", "max_length"),
        (M3QueryEmbedding, "modell", "model"),
    ],
)
def test_an_unknown_argument_names_the_nearest(tiny, kind, name, meant):
    with pytest.raises(ArgumentError, match=rf"`{name}`\. Did you mean `{meant}`\?"):
        kind(model=tiny, **{name: 1})


@pytest.mark.parametrize("kind", COMPONENTS)
@pytest.mark.parametrize("name", ["cache_folder", "query_instruction", "trust_remote_code"])
def test_an_argument_of_other_classes_is_refused(tiny, kind, name):
    with pytest.raises(ArgumentError, match=f"{kind.__name__} has no argument `{name}`"):
        kind(model=tiny, **{name: "x"})


@pytest.mark.parametrize("kind", OVER_AN_INDEX)
@pytest.mark.parametrize(
    ("name", "meant"), [("persist_dir", "path"), ("colbrt", "colbert"), ("vector_store", "index")]
)
def test_a_class_over_an_index_names_the_nearest(kind, name, meant):
    with pytest.raises(ArgumentError, match=rf"`{name}`\. Did you mean `{meant}`\?"):
        kind(**{name: "x"})


@pytest.mark.parametrize("kind", OVER_AN_INDEX)
@pytest.mark.parametrize("make", ["from_nodes", "from_documents"])
def test_the_other_constructors_refuse_too(tiny, kind, make):
    with pytest.raises(ArgumentError, match=rf"{kind.__name__}\.{make} has no argument `colbrt`"):
        getattr(kind, make)([Document(text="x")], model=tiny, colbrt="off")
    with pytest.raises(ArgumentError, match="has no argument `index`"):
        getattr(kind, make)([Document(text="x")], index=M3Index.open(model=tiny))


@pytest.mark.parametrize("name", ["weights", "fusion", "channels"])
def test_a_sparse_retriever_has_no_fusion(index, name):
    with pytest.raises(ArgumentError, match=f"M3SparseRetriever has no argument `{name}`"):
        M3SparseRetriever(index, **{name: "rrf"})


def test_functions_refuse_too(tiny):
    with pytest.raises(ArgumentError, match="sparse_encoder has no argument `modell`"):
        sparse_encoder(modell=tiny)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda store: store.add(NODES, show_progres=True), "show_progres"),
        (lambda store: store.delete("a", soft=True), "soft"),
        (lambda store: store.delete_nodes(["a"], where={}), "where"),
        (lambda store: store.add_documents([], parser=None), "parser"),
    ],
)
def test_methods_refuse_too(index, call, name):
    with pytest.raises(TypeError, match=name):
        call(M3VectorStore(index))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda m, i: M3Reranker(model=m, weights="nope", mode="all"), "Unknown weights 'nope'"),
        (lambda m, i: M3Reranker(index=i, weights="nope", mode="all"), "Unknown weights 'nope'"),
        (
            lambda m, i: M3Reranker(model="tiny", weights="nope", mode="all"),
            "Unknown weights 'nope'",
        ),
        (lambda m, i: M3Reranker(model=m, mode="nope"), "M3Reranker: `mode`: input should be 'col"),
        (lambda m, i: M3Reranker(model=m, top_n=0), "`top_n`: input should be greater .*, got 0"),
        (lambda m, i: M3NodeParser(model=m, max_tokens=2), "`max_tokens`: input should be"),
        (lambda m, i: M3Embedding(model=m, embed_batch_size=0), "`embed_batch_size`"),
        (lambda m, i: M3VectorStore(i, weights="nope"), "Unknown weights 'nope'"),
        (lambda m, i: M3VectorStore(i, fusion="nope"), "`fusion` must be .*, got 'nope'"),
        (lambda m, i: M3VectorStore(i, candidates=0), "`candidates` must be"),
        (lambda m, i: M3VectorStore(i, candidates="x"), "M3VectorStore: `candidates`: input"),
        (lambda m, i: M3EnsembleRetriever(i, weights="nope"), "Unknown weights 'nope'"),
        (lambda m, i: M3EnsembleRetriever(i, channels=["dens"]), "Unknown channel 'dens'"),
        (lambda m, i: M3EnsembleRetriever(i, doc_ids=3), "`doc_ids` must be a list of strings"),
        (lambda m, i: M3EnsembleRetriever(i, filters={"lang": "en"}), "`filters` must be Metad"),
    ],
)
def test_values_are_checked_where_they_are_given(tiny, index, make, message):
    with pytest.raises(InputError, match=message):
        make(tiny, index)


@pytest.mark.parametrize(
    ("make", "name", "value"),
    [
        (lambda m, i: M3Reranker(model=m), "weights", "nope"),
        (lambda m, i: M3Reranker(model=m), "top_n", -1),
        (lambda m, i: M3Reranker(model=m), "topn", 1),
        (lambda m, i: M3VectorStore(i), "fusion", "nope"),
        (lambda m, i: M3EnsembleRetriever(i), "weights", "nope"),
        (lambda m, i: M3EnsembleRetriever(i), "similarity_top_k", 0),
        (lambda m, i: M3EnsembleRetriever(i), "top_k", 3),
        (lambda m, i: M3EnsembleRetriever(i), "index", 3),
    ],
)
def test_an_assigned_value_is_checked(tiny, index, make, name, value):
    component = make(tiny, index)
    before = getattr(component, name, None)
    with pytest.raises(InputError):
        setattr(component, name, value)
    assert getattr(component, name, None) == before


def test_a_changed_setting_counts(index):
    retriever = M3EnsembleRetriever(index)
    retriever.weights = "cross-lingual"
    retriever.similarity_top_k = 2
    assert retriever.settings.weights == "cross-lingual"
    assert str(retriever) == f"M3EnsembleRetriever({index!r}, similarity_top_k=2)"


@pytest.mark.parametrize("model", [3, M3Index, object()])
@pytest.mark.parametrize("kind", COMPONENTS)
def test_a_model_of_another_kind(kind, model):
    with pytest.raises(InputError, match="`model` must be a model, or a name"):
        kind(model=model)


def test_the_embeddings_of_a_model_are_not_the_model(tiny):
    with pytest.raises(InputError, match=r"Pass its model: model=….model"):
        M3VectorStore(model=M3Embedding(model=tiny))


def test_the_store_takes_path_model_and_settings(tiny, tmp_path):
    with M3VectorStore(path=tmp_path / "kb", model=tiny, colbert="off") as store:
        assert store.add(NODES) == ["a"]
        assert (store.index.path, store.index.model) == (tmp_path / "kb", tiny)
        assert store.index.manifest.colbert == "off"
    with M3VectorStore(path=tmp_path / "kb") as store:  # loads the model of the folder
        assert (store.index.model.name, store.count()) == ("tiny", 1)
    assert M3VectorStore(model="tiny").index.path is None


@pytest.mark.parametrize("kind", [M3EnsembleRetriever, M3SparseRetriever])
def test_a_retriever_takes_a_path(tiny, tmp_path, kind):
    with kind.from_nodes(make_nodes(), path=tmp_path / "kb", model=tiny) as retriever:
        expected = retriever.retrieve("soil moisture")
    with kind(path=tmp_path / "kb") as retriever:
        assert [n.node_id for n in retriever.retrieve("soil moisture")] == [
            n.node_id for n in expected
        ]


@pytest.mark.parametrize("kind", [M3EnsembleRetriever, M3SparseRetriever])
def test_an_index_is_found_where_one_is_held(index, kind):
    store = M3VectorStore(index)
    over = VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model)
    for holder in (index, store, over, kind(index)):
        assert kind(holder).index is index
        assert M3Reranker(index=holder).model is index.model
    assert M3VectorStore(over).index is index


def test_a_folder_is_an_index(tiny, tmp_path):
    M3VectorStore.from_nodes(NODES, path=tmp_path / "kb", model=tiny).close()
    for folder in (tmp_path / "kb", str(tmp_path / "kb")):
        with M3VectorStore(folder) as store:
            assert store.count() == 1
        with M3EnsembleRetriever(folder) as retriever:
            assert retriever.retrieve("shade")
    with pytest.raises(FormatError, match="nowhere"):
        M3VectorStore(tmp_path / "nowhere")


def test_an_index_and_a_path_are_one_too_many(index, tiny):
    for given in ({"path": "kb"}, {"model": tiny}, {"colbert": "off"}):
        with pytest.raises(InputError, match=f"`index` already has .* Leave `{next(iter(given))}`"):
            M3VectorStore(index, **given)
        with pytest.raises(InputError, match=f"`index` already has .* Leave `{next(iter(given))}`"):
            M3EnsembleRetriever(index, **given)


@pytest.mark.parametrize("wrong", [3, ["a"], M3VectorStore, TextNode(text="x")])
def test_something_without_an_index(wrong):
    for kind in OVER_AN_INDEX:
        with pytest.raises(InputError, match="`index` must be an M3Index, an M3VectorStore"):
            kind(wrong)
    with pytest.raises(InputError, match="`index` must be an M3Index, an M3VectorStore"):
        M3Reranker(index=wrong)


def test_a_retriever_without_anything():
    with pytest.raises(InputError, match="M3EnsembleRetriever needs an index: pass `index`, or"):
        M3EnsembleRetriever()


@pytest.mark.parametrize("nodes", ["text", TextNode(text="x"), ["text"], 3])
def test_nodes_of_another_kind(index, tiny, nodes):
    for call in (
        M3VectorStore(index).add,
        lambda n: M3EnsembleRetriever.from_nodes(n, model=tiny),
        lambda n: M3VectorStore.from_documents(n, model=tiny),
    ):
        with pytest.raises(InputError, match="must be a list of"):
            call(nodes)


def test_a_failed_constructor_closes_its_folder(tiny, tmp_path):
    for make in (M3VectorStore, M3EnsembleRetriever):
        with pytest.raises(InputError, match="Unknown weights"):
            make(path=tmp_path / "kb", model=tiny, weights="nope")
    with pytest.raises(InputError):
        M3VectorStore.from_nodes([TextNode(text="x", metadata={"_node": 1})], path=tmp_path / "kb")
    M3VectorStore(path=tmp_path / "kb").close()


def test_a_progress_bar(index, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm's, about notebooks
        M3VectorStore(index).add(NODES, show_progress=True)
    assert "1/1" in capsys.readouterr().err


def test_components_are_saved_and_loaded(tiny):
    for kind in COMPONENTS:
        component = kind(model=tiny)
        again = kind(**component.model_dump(exclude={"callback_manager", "id_func"}))
        assert again.model_dump() == component.model_dump()


def test_asynchronous_constructors(tiny):
    retriever = asyncio.run(
        M3EnsembleRetriever.afrom_documents([Document(id_="a", text="Ferns.")], model=tiny)
    )
    assert retriever.count() == 1
