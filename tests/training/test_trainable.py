"""The network with gradients computes what the inference network computes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import XLMRobertaConfig, XLMRobertaModel

from m3rag.model import checkpoint as checkpoints
from m3rag.model.kernels.device import training_dtype
from m3rag.model.lookup import BUNDLED
from m3rag.model.network import M3Network
from m3rag.model.storage import POSITIONS, WORDS, Positions
from m3rag.training import train
from m3rag.training.trainable import encode, joined, tied, to_checkpoint, trainable
from tests.conftest import TEXTS

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def start():
    return checkpoints.read(BUNDLED["tiny"])


@pytest.fixture
def network(start, quick):
    return trainable(M3Network, start, quick(freeze=()), CPU)


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
    network = trainable(M3Network, start, quick(freeze=freeze), CPU)
    frozen = {name.split(".")[-2] for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen == expected


def test_with_a_frozen_encoder_only_the_heads_learn(start, quick):
    network = trainable(M3Network, start, quick(freeze=("encoder",)), CPU)
    learning = {name for name, p in network.named_parameters() if p.requires_grad}
    heads = ("sparse_linear", "colbert_linear")
    assert learning == {f"{head}.{part}" for head in heads for part in ("weight", "bias")}


@pytest.fixture(scope="module")
def repeating(start, tmp_path_factory):
    """A plain folder of "tiny" with positions that repeat every 20 after the first 130."""
    table = 0.02 * torch.randn(start.encoder[POSITIONS].shape, generator=torch.Generator())
    rows = Positions(130, 20).rows(np.arange(len(table)))
    folder = tmp_path_factory.mktemp("repeating") / "m3"
    changed = {**start.encoder, POSITIONS: table.half()[torch.from_numpy(rows)]}
    checkpoints.write(replace(start, encoder=changed), folder)
    return folder


def test_repeated_positions_learn_as_one(repeating, start, quick):
    plain = checkpoints.read(repeating)
    short = tied(plain)
    assert short.encoder[POSITIONS].shape[0] == 130
    assert short.fingerprint() == plain.fingerprint()
    assert tied(short) is short
    assert tied(start) is start  # all rows are equal, but need not stay so
    networks = [trainable(M3Network, each, quick(freeze=()), CPU) for each in (plain, short)]
    text = [0, *range(1000, 1200), 2]
    for network in networks:
        encode(network, [text], start.tokenizer.unweighted).dense[0, 0].backward()
    whole, once = (
        dict(network.named_parameters())[f"encoder.{POSITIONS}"].grad.numpy()
        for network in networks
    )
    np.testing.assert_allclose(once[:110], whole[:110], atol=1e-5)
    expected = np.stack([whole[110 + i :: 20].sum(0) for i in range(20)])
    np.testing.assert_allclose(once[110:], expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore::m3rag.errors.TruncationWarning")
def test_a_packed_model_keeps_its_words_and_its_repetition(repeating, pairs, quick, tmp_path):
    checkpoints.write(checkpoints.read(repeating), tmp_path / "packed", packed=True)
    before = checkpoints.read(tmp_path / "packed")
    settings = quick(freeze=("embeddings",), batch=2, max_passage_length=160, max_steps=2)
    train(pairs, tmp_path / "m3", model=tmp_path / "packed", settings=settings)
    after = checkpoints.read(tmp_path / "m3")
    words = f"{WORDS}.weight"
    assert torch.equal(after.encoder[words], before.unpacked().encoder[words])
    table, old = after.encoder[POSITIONS], before.unpacked().encoder[POSITIONS]
    assert len(table) == len(old)
    assert not torch.equal(table, old)
    assert torch.equal(
        table, table[torch.from_numpy(Positions(130, 20).rows(np.arange(len(table))))]
    )
    again = after.packed()
    assert torch.equal(again.encoder[f"{WORDS}.codes"], before.encoder[f"{WORDS}.codes"])
    saved = load_file(tmp_path / "m3" / "training" / "state.safetensors")
    assert not any("word_embeddings" in name for name in saved)
    assert saved[f"model.encoder.{POSITIONS}"].shape[0] == 130
    done = train(pairs, tmp_path / "m3", model=tmp_path / "packed", settings=settings)
    assert done.finished
    again = replace(settings, freeze=())  # packed words are frozen in any case
    assert train(pairs, tmp_path / "m3", model=tmp_path / "packed", settings=again).finished


def test_dtype(monkeypatch):
    assert training_dtype("bfloat16", CPU) == torch.bfloat16
    assert training_dtype("float32", CPU) == torch.float32
    for supported, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda supported=supported: supported)
        assert training_dtype("auto", torch.device("cuda")) == dtype
