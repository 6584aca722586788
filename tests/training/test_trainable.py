"""The network with gradients computes what the inference network computes."""

import numpy as np
import pytest
import torch
from transformers import XLMRobertaConfig, XLMRobertaModel

from m3rag.model import checkpoint as checkpoints
from m3rag.model.kernels.device import training_dtype
from m3rag.model.lookup import BUNDLED
from m3rag.training.trainable import encode, joined, to_checkpoint, trainable
from tests.conftest import TEXTS

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def start():
    return checkpoints.read(BUNDLED["tiny"])


@pytest.fixture
def network(start, quick):
    return trainable(start, quick(freeze=()), CPU)


def ids_of(start, texts=TEXTS, limit=64):
    return [tokens.ids for tokens in start.tokenizer.cut(texts, limit)]


@pytest.mark.filterwarnings("ignore::m3rag.errors.TruncationWarning")
def test_views_are_the_models(start, network, tiny):
    views = encode(network, ids_of(start), start.tokenizer.unweighted)
    expected = tiny.encode(TEXTS, max_length=64)
    np.testing.assert_allclose(views.dense.detach(), expected.dense, atol=1e-5)
    for i, text in enumerate(TEXTS):
        vectors = views.colbert[i, views.mask[i]].detach()
        np.testing.assert_allclose(vectors, expected.colbert[i], atol=1e-5, err_msg=text)
        assert not views.colbert[i, ~views.mask[i]].any()
        weights: dict[int, float] = {}
        for token, weight in zip(views.ids[i].tolist(), views.weights[i].tolist(), strict=True):
            if weight:
                weights[token] = max(weight, weights.get(token, 0))
        assert weights == pytest.approx(expected.sparse[i], abs=1e-5)


def test_gradients_are_those_of_transformers(start, network):
    texts = ids_of(start, TEXTS[:5])
    views = encode(network, texts, start.tokenizer.unweighted)
    (views.dense.sum() + views.colbert.square().sum() + views.colbert.sum()).backward()

    config = XLMRobertaConfig(**start.config, attn_implementation="eager")
    theirs = XLMRobertaModel(config, add_pooling_layer=False)
    theirs.load_state_dict(network.encoder.state_dict())
    head = network.colbert_linear
    for ids in texts:
        hidden = theirs(torch.tensor([ids])).last_hidden_state[0]
        dense = torch.nn.functional.normalize(hidden[0], dim=-1)
        colbert = torch.nn.functional.normalize(
            hidden[1:] @ head.weight.detach().T + head.bias.detach(), dim=-1
        )
        (dense.sum() + colbert.square().sum() + colbert.sum()).backward()
    ours = dict(network.encoder.named_parameters())
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(ours[name].grad, parameter.grad, atol=1e-4, rtol=1e-3)


def test_parts_join_to_the_whole(start, network):
    texts = ids_of(start)
    special = start.tokenizer.unweighted
    whole = encode(network, texts, special)
    parts = joined([encode(network, texts[:7], special), encode(network, texts[7:], special)], 1)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other)


def test_training_does_not_change_the_checkpoint(start, network):
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 1
    read = checkpoints.read(BUNDLED["tiny"])
    for (name, tensor), (_, fresh) in zip(start.tensors(), read.tensors(), strict=True):
        assert torch.equal(tensor, fresh), name


def test_an_untrained_checkpoint_is_unchanged(start, network):
    back = to_checkpoint(network, start)
    assert back.fingerprint() == start.fingerprint()
    for (name, tensor), (_, before) in zip(back.tensors(), start.tensors(), strict=True):
        assert tensor.dtype == before.dtype, name
        assert torch.equal(tensor, before), name


@pytest.mark.parametrize(
    ("freeze", "expected"),
    [
        ((), set()),
        (("positions",), {"position_embeddings"}),
        (("embeddings", "positions"), {"word_embeddings", "position_embeddings"}),
    ],
)
def test_freezing(start, quick, freeze, expected):
    network = trainable(start, quick(freeze=freeze), CPU)
    frozen = {name.split(".")[-2] for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen == expected


def test_with_a_frozen_encoder_only_the_heads_learn(start, quick):
    network = trainable(start, quick(freeze=("encoder",)), CPU)
    learning = {name for name, p in network.named_parameters() if p.requires_grad}
    heads = ("sparse_linear", "colbert_linear")
    assert learning == {f"{head}.{part}" for head in heads for part in ("weight", "bias")}


def test_dtype(monkeypatch):
    assert training_dtype("bfloat16", CPU) == torch.bfloat16
    assert training_dtype("float32", CPU) == torch.float32
    for supported, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda supported=supported: supported)
        assert training_dtype("auto", torch.device("cuda")) == dtype
