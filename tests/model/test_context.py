"""Long texts: several `<s>` in one text (MCLS), and passages that are encoded together."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import XLMRobertaModel

from m3rag.errors import InputError, TruncationWarning
from m3rag.model.grouping import passes

LONG = (Path(__file__).parents[2] / "docs" / "quickstart.md").read_text(encoding="utf-8")
PARTS = [
    "Ferns like shade.",
    "They are watered every day. <s> typed by hand",
    "喜阴植物需要多少水?",
    "",
    "Los helechos no quieren sol.",
]


def split_into(text, n):
    size = -(-len(text) // n)
    return [text[i : i + size] for i in range(0, len(text), size)]


@pytest.fixture(scope="module")
def reference(tiny, tiny_folder):
    """A forward pass of transformers: token ids -> hidden states, term weights, ColBERT vectors."""
    encoder = XLMRobertaModel.from_pretrained(
        tiny_folder, add_pooling_layer=False, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    network = tiny._worker._network

    @torch.no_grad()
    def forward(ids):
        hidden = encoder(input_ids=torch.tensor([ids])).last_hidden_state[0]
        weights = torch.relu(network.sparse_linear(hidden))[:, 0]
        vectors = F.normalize(network.colbert_linear(hidden), dim=-1)
        return hidden, weights.numpy(), vectors.numpy()

    return forward


def check(tiny, encoding, ids, weights, vectors, rows):
    """Compare the sparse and ColBERT views of one text with rows of a transformers pass."""
    expected: dict[int, float] = {}
    for id_, weight in zip(np.array(ids)[rows].tolist(), weights[rows].tolist(), strict=True):
        if id_ not in tiny.tokenizer.unweighted and weight > 0:
            expected[id_] = max(weight, expected.get(id_, 0.0))
    assert encoding.sparse[0].keys() == expected.keys()
    for id_, weight in expected.items():
        assert encoding.sparse[0][id_] == pytest.approx(weight, abs=2e-5)
    np.testing.assert_allclose(encoding.colbert[0], vectors[rows], atol=2e-5)


@pytest.mark.parametrize("step", [7, 256])
def test_mcls_equals_transformers_with_cls_inserted_by_hand(tiny, reference, step):
    content = tiny.token_ids([LONG])[0][:1500]
    bos, eos = tiny.tokenizer.bos, tiny.tokenizer.eos
    ids: list[int] = []
    cls: list[int] = []
    for start in range(0, len(content), step):
        cls.append(len(ids))
        ids += [bos, *content[start : start + step]]
    ids.append(eos)
    hidden, weights, vectors = reference(ids)
    with pytest.warns(TruncationWarning):
        enc = tiny.encode([LONG], mcls=step, max_length=len(ids))
    assert enc.n_tokens[0] == len(ids)
    dense = F.normalize(hidden[cls].mean(0), dim=-1)
    np.testing.assert_allclose(enc.dense[0], dense.numpy(), atol=2e-5)
    check(tiny, enc, ids, weights, vectors, np.delete(np.arange(len(ids)), cls))


def test_mcls_does_not_change_texts_within_one_step(tiny):
    texts = [*PARTS, "the " * 16]
    plain, with_mcls = tiny.encode(texts), tiny.encode(texts, mcls=16)
    np.testing.assert_allclose(plain.dense, with_mcls.dense, atol=2e-6)
    np.testing.assert_array_equal(plain.n_tokens, with_mcls.n_tokens)
    longer = tiny.encode(["the " * 17], mcls=16)
    assert longer.n_tokens[0] == 17 + 2 + 1
    assert len(longer.colbert[0]) == 17 + 1


@pytest.mark.parametrize("limit", range(3, 24))
@pytest.mark.parametrize("step", [1, 2, 5, 64])
def test_mcls_keeps_the_limit(tiny, limit, step):
    whole = tiny.tokenizer.cut(["the " * 40], 1000, step)[0]
    assert len(whole.ids) == whole.total == 40 + -(-40 // step) + 1
    cut = tiny.tokenizer.cut(["the " * 40], limit, step)[0]
    assert cut.truncated
    assert limit - 1 <= len(cut.ids) <= limit
    assert [cut.ids[i] for i in cut.cls] == [tiny.tokenizer.bos] * len(cut.cls)
    assert cut.ids[-1] == tiny.tokenizer.eos
    assert cut.ids[-2] != tiny.tokenizer.bos


def test_the_memo_distinguishes_mcls_max_length_and_documents(fresh):
    text = "soil moisture " * 20
    options: list[dict[str, int]] = [{}, {"mcls": 8}, {"mcls": 16}, {"max_length": 30}]
    with pytest.warns(TruncationWarning):
        dense = [fresh.encode([text], **option).dense for option in options]
    alone = fresh.encode(PARTS)
    together = fresh.encode(PARTS, documents=["a"] * 5)
    passes_so_far = fresh.passes
    for first, second in itertools.combinations(dense, 2):
        assert np.abs(first - second).max() > 1e-4
    assert np.abs(alone.dense - together.dense).max() > 1e-3
    np.testing.assert_array_equal(fresh.encode([text], mcls=8).dense, dense[1])
    again = fresh.encode(PARTS, documents=["b"] * 5)
    np.testing.assert_array_equal(again.dense, together.dense)
    assert fresh.passes == passes_so_far, "everything was in the memo"


def test_passages_encoded_together_equal_one_transformers_pass(tiny, reference):
    bos, eos = tiny.tokenizer.bos, tiny.tokenizer.eos
    texts = [[bos, *ids, eos] for ids in tiny.token_ids(PARTS)]
    ids = [id_ for text in texts for id_ in text]
    hidden, weights, vectors = reference(ids)
    enc = tiny.encode(PARTS, documents=["fern"] * 5)
    start = 0
    for i, text in enumerate(texts):
        rows = np.arange(start + 1, start + len(text))
        dense = F.normalize(hidden[start], dim=-1)
        np.testing.assert_allclose(enc.dense[i], dense.numpy(), atol=2e-5)
        check(tiny, enc[i], ids, weights, vectors, rows)
        by_token = tiny.token_weights(PARTS, documents=["fern"] * 5)[i]
        np.testing.assert_allclose(by_token, weights[rows[:-1]], atol=2e-5)
        start += len(text)


def test_a_document_of_one_text_changes_nothing(tiny):
    texts = [*PARTS, LONG[:3000]]
    plain = tiny.encode(texts)
    for documents in ([None] * 6, list("abcdef"), [None, "a", None, "b", "c", None]):
        alone = tiny.encode(texts, documents=documents)
        np.testing.assert_allclose(alone.dense, plain.dense, atol=1e-6)
        np.testing.assert_allclose(alone.colbert.vectors, plain.colbert.vectors, atol=1e-6)
        assert alone.n_tokens.tolist() == plain.n_tokens.tolist()


def test_long_documents_are_split_into_even_passes(fresh):
    pieces = split_into(LONG, 12)
    lengths = [len(ids) + 2 for ids in fresh.token_ids(pieces)]
    limit = sum(lengths) * 2 // 5
    names = ["long"] * 12
    found = list(passes(lengths, names, limit))
    sizes = [sum(lengths[a:b]) for a, b in found]
    assert len(found) == 3
    assert max(sizes) <= limit
    assert min(sizes) > limit // 2
    whole = fresh.encode(pieces, documents=names, max_length=limit)
    for a, b in found:
        part = fresh.encode(pieces[a:b], documents=names[a:b])
        np.testing.assert_allclose(part.dense, whole.dense[a:b], atol=1e-5)


@pytest.mark.parametrize("lengths", [[5], [5, 5, 5], [9, 9, 9, 9], [1, 9, 1, 9, 1], [10] * 7])
def test_every_text_is_in_one_pass_that_fits(lengths):
    found = list(passes(lengths, ["d"] * len(lengths), 10))
    assert [a for a, _ in found] == [0, *(b for _, b in found[:-1])]
    assert found[-1][1] == len(lengths)
    assert all(a < b and sum(lengths[a:b]) <= 10 for a, b in found)


def test_progress_counts_texts_not_passes(tiny):
    reports = []
    documents = ["shared"] * 5 + [None]
    tiny.encode(
        [*PARTS, "new"], documents=documents, progress=lambda *report: reports.append(report)
    )
    assert reports[-1] == ("encoding", 6, 6)


async def test_aencode_equals_encode(tiny):
    enc = await tiny.aencode(PARTS, documents=["fern"] * 5, mcls=4)
    expected = tiny.encode(PARTS, documents=["fern"] * 5, mcls=4)
    np.testing.assert_array_equal(enc.dense, expected.dense)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mcls": 0}, "`mcls` must be an integer of at least 1, such as 256, got 0"),
        ({"mcls": True}, "got True"),
        ({"documents": ["a"]}, "one document, or None, for each of the 2 texts"),
        ({"documents": "ab"}, "got 'ab'"),
    ],
)
def test_invalid_arguments(tiny, arguments, message):
    with pytest.raises(InputError, match=message):
        tiny.encode(["soil", "water"], **arguments)
