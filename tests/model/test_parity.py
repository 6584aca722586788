"""The numbers equal those of FlagEmbedding 1.4.2 and sentence-transformers."""

import os
import warnings

import numpy as np
import pytest
import torch

from m3rag import M3Model, compute_score
from m3rag.model import checkpoint
from m3rag.model.lookup import BUNDLED
from tests.conftest import TEXTS

pytestmark = pytest.mark.filterwarnings("ignore")  # warnings of the other libraries

LONG = "Cross-lingual retrieval over long documents 长文档 检索 المستندات. " * 900


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The bundled encoder with random heads, so that nothing depends on the trained values."""
    read = checkpoint.read(BUNDLED["tiny"])
    rng = torch.Generator().manual_seed(3)
    heads = {
        "sparse_linear": {
            # Term weights of about 1, as with trained heads: the tolerance of 1e-5 assumes it.
            "weight": torch.randn(1, 256, generator=rng) / 32,
            "bias": torch.randn(1, generator=rng) / 32,
        },
        "colbert_linear": {
            "weight": torch.randn(256, 256, generator=rng),
            "bias": torch.randn(256, generator=rng),
        },
    }
    path = tmp_path_factory.mktemp("random-heads")
    checkpoint.write(checkpoint.Checkpoint(read.config, read.tokenizer, read.encoder, heads), path)
    return path


@pytest.fixture(scope="module", params=["tiny", "random heads"])
def pair(request, folder):
    """FlagEmbedding's model and ours, with the same checkpoint in float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from FlagEmbedding import BGEM3FlagModel

        path = BUNDLED["tiny"] if request.param == "tiny" else folder
        theirs = BGEM3FlagModel(str(path), use_fp16=False, devices="cpu")
        with M3Model.load(path, dtype="float32") as ours:
            yield theirs, ours


def flag_encode(model, texts, max_length, batch_size=6):
    return model.encode(
        texts,
        batch_size=batch_size,
        max_length=max_length,
        return_dense=True,
        return_sparse=True,
        return_colbert_vecs=True,
    )


def assert_equal(flag, ours, n):
    """Check that dense, ColBERT and sparse values differ by at most 1e-5, with the same ids."""
    np.testing.assert_allclose(ours.dense, flag["dense_vecs"], atol=1e-5)
    for i in range(n):
        theirs = {int(k): float(w) for k, w in flag["lexical_weights"][i].items()}
        # A weight below the tolerance may be zero in one of them.
        for token in theirs.keys() ^ ours.sparse[i].keys():
            assert max(theirs.get(token, 0), ours.sparse[i].get(token, 0)) < 1e-5
        for token in theirs.keys() & ours.sparse[i].keys():
            assert ours.sparse[i][token] == pytest.approx(theirs[token], abs=1e-5)
        assert ours.colbert[i].shape == flag["colbert_vecs"][i].shape
        np.testing.assert_allclose(ours.colbert[i], flag["colbert_vecs"][i], atol=1e-5)


@pytest.mark.parametrize("max_length", [3, 16, 128, 512])
def test_mixed_batches_in_every_script(pair, max_length):
    theirs, ours = pair
    flag = flag_encode(theirs, TEXTS, max_length)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_equal(flag, ours.encode(TEXTS, max_length=max_length), len(TEXTS))


@pytest.mark.parametrize("max_length", [2000, 8192])
def test_long_documents_beside_short_ones(pair, max_length):
    theirs, ours = pair
    texts = [LONG, "short", LONG[: len(LONG) // 3]]
    flag = flag_encode(theirs, texts, max_length, batch_size=1)  # no padding
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        encoding = ours.encode(texts, max_length=max_length)
    assert encoding.n_tokens[0] == max_length
    assert_equal(flag, encoding, len(texts))


def test_the_five_scores(pair):
    theirs, ours = pair
    pairs = [(TEXTS[i], TEXTS[j]) for i in range(8) for j in (1, 3, 5, 16)]
    weights = [0.4, 0.2, 0.4]
    # One pair at a time: in a batch, FlagEmbedding's padding raises its MaxSim to at least 0.
    flag = [
        theirs.compute_score([p], max_passage_length=128, weights_for_different_modes=weights)
        for p in pairs
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = compute_score(ours, pairs, weights=weights, max_passage_length=128)
    assert set(scores) == set(flag[0])
    for name, values in scores.items():
        expected = [np.ravel(pair_scores[name])[0] for pair_scores in flag]
        np.testing.assert_allclose(values, expected, atol=1e-5, err_msg=name)


def test_dense_equals_sentence_transformers(folder):
    from sentence_transformers import SentenceTransformer

    for path in (BUNDLED["tiny"], folder):
        theirs = SentenceTransformer(str(path), device="cpu", model_kwargs={"dtype": "float32"})
        with M3Model.load(path, dtype="float32") as ours:
            expected = theirs.encode(TEXTS, normalize_embeddings=True)
            np.testing.assert_allclose(ours.encode(TEXTS).dense, expected, atol=1e-5)


def test_token_ids_equal_transformers():
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(str(BUNDLED["tiny"]))
    with M3Model.load("tiny") as ours:
        for text, tokens in zip(TEXTS, ours.tokenizer.cut(TEXTS, 8192), strict=True):
            assert tokens.ids == theirs(text)["input_ids"], text


@pytest.mark.real_model
@pytest.mark.skipif("M3RAG_REAL_MODEL" not in os.environ, reason="M3RAG_REAL_MODEL is not set")
def test_the_published_scores_of_bge_m3():
    """The scores of BAAI/bge-m3's README are from float16 on a GPU, hence the tolerance."""
    model = M3Model.load(os.environ["M3RAG_REAL_MODEL"], dtype="float32")
    queries = ["What is BGE M3?", "Defination of BM25"]
    passages = [
        "BGE M3 is an embedding model supporting dense retrieval, lexical matching and "
        "multi-vector interaction.",
        "BM25 is a bag-of-words retrieval function that ranks a set of documents based on the "
        "query terms appearing in each document",
    ]
    pairs = [(q, p) for q in queries for p in passages]
    scores = compute_score(model, pairs, weights=[0.4, 0.2, 0.4], max_passage_length=128)
    expected = {
        "dense": [0.62598, 0.34741, 0.34985, 0.67822],
        "sparse": [0.19556, 0.0087967, 0.0, 0.18030],
        "colbert": [0.77965, 0.46215, 0.45238, 0.78986],
        "sparse+dense": [0.48250, 0.23454, 0.23323, 0.51225],
        "colbert+sparse+dense": [0.60136, 0.32558, 0.32089, 0.62329],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(scores[name], values, atol=5e-3, err_msg=name)
    weights = dict(
        zip(model.tokens(ids := model.encode(queries[:1]).sparse[0]), ids.values(), strict=True)
    )
    assert weights["▁What"] == pytest.approx(0.08356, abs=2e-3)
    assert weights["GE"] == pytest.approx(0.252, abs=2e-3)
