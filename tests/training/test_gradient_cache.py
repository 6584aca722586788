"""The gradients of a plain step, with only some of the texts in the network at a time."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import XLMRobertaConfig, XLMRobertaModel

from m3rag.model import checkpoint
from m3rag.model.lookup import BUNDLED
from m3rag.training.gradient_cache import cached_backward
from m3rag.training.losses import LossSettings, m3_loss
from m3rag.training.similarity import colbert_scores, dense_scores, sparse_scores


class Network(nn.Module):
    """The bundled encoder and its heads, with padding and optional dropout."""

    def __init__(self, dropout):
        super().__init__()
        read = checkpoint.read(BUNDLED["tiny"])
        config = XLMRobertaConfig(**read.config)
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout
        self.encoder = XLMRobertaModel(config, add_pooling_layer=False).float()
        self.encoder.load_state_dict(read.encoder)
        width, colbert = config.hidden_size, read.heads["colbert_linear"]
        self.sparse, self.colbert = nn.Linear(width, 1), nn.Linear(width, len(colbert["weight"]))
        self.sparse.load_state_dict(read.heads["sparse_linear"])
        self.colbert.load_state_dict(colbert)
        self.texts = 0  # the maximum number of texts encoded together

    def forward(self, ids):
        self.texts = max(self.texts, len(ids))
        mask = ids != 1
        hidden = self.encoder(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        return (
            F.normalize(hidden[:, 0], dim=-1),
            ids,
            self.sparse(hidden).relu()[..., 0] * (ids > 3),
            F.normalize(self.colbert(hidden[:, 1:]), dim=-1),
            mask[:, 1:],
        )


def m3_step_loss(chunks):
    """Return the loss of the first six texts as queries, the other twelve as pairs of passages."""
    views = [torch.cat(view) for view in zip(*chunks, strict=True)]
    (qd, qi, qw, qc, qm), (pd, pi, pw, pc, pm) = ([v[:6] for v in views], [v[6:] for v in views])
    scores = {
        "dense": dense_scores(qd, pd),
        "sparse": sparse_scores(qi, qw, pi, pw),
        "colbert": colbert_scores(qc, qm, pc, pm),
    }
    return m3_loss(scores, torch.arange(6) * 2, LossSettings(temperature=0.05))


@pytest.fixture(scope="module", params=[0.0, 0.1], ids=["no dropout", "dropout"])
def network(request):
    torch.manual_seed(0)
    return Network(request.param).train()


@pytest.fixture
def ids():
    rng = torch.Generator().manual_seed(1)
    ids = torch.randint(4, 4000, (18, 12), generator=rng)
    ids[:, 0], ids[:, -1] = 0, 2
    ids[::3, 7:] = torch.tensor([2, 1, 1, 1, 1])
    return ids


def gradients(network):
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("size", [4, 18])
def test_gradients_are_those_of_the_plain_step(network, ids, size):
    plain, cached = copy.deepcopy(network), copy.deepcopy(network)
    chunks = torch.split(ids, size)
    torch.manual_seed(7)
    expected = m3_step_loss([plain(chunk) for chunk in chunks])
    expected["loss"].backward()
    drawn = torch.get_rng_state()

    torch.manual_seed(7)
    losses = cached_backward(cached, chunks, m3_step_loss)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert cached.texts == size
    assert losses.keys() == expected.keys()
    for name, part in losses.items():
        assert not part.requires_grad
        torch.testing.assert_close(part, expected[name].detach())
    theirs, ours = gradients(plain), gradients(cached)
    assert ours.keys() == theirs.keys()
    assert max(g.abs().max() for g in theirs.values()) > 0.01
    for name, gradient in ours.items():
        torch.testing.assert_close(gradient, theirs[name], rtol=1e-4, atol=1e-5)


def test_dropout_makes_the_steps_differ(ids):
    """The test above would therefore notice a state that is not restored."""
    network = Network(0.1).train()
    torch.manual_seed(7)
    first, second = (m3_step_loss([network(ids)])["loss"].item() for _ in range(2))
    assert abs(first - second) > 1e-3


def test_only_one_chunk_has_a_graph_at_a_time():
    layer, graphs = nn.Linear(3, 2), []

    def encode(chunk):
        output = layer(chunk)
        graphs.append(output.requires_grad)
        return (output,)

    loss = cached_backward(
        encode, list(torch.ones(3, 1, 3)), lambda chunks: torch.cat([c[0] for c in chunks]).sum()
    )
    assert graphs == [False] * 3 + [True] * 3
    assert not loss.requires_grad
    assert layer.bias.grad.tolist() == [3.0, 3.0]


def test_gradients_add_up_and_unused_views_have_none():
    layer = nn.Linear(3, 2)

    def encode(chunk):
        return layer(chunk), chunk * 2, chunk.long()

    chunks = [torch.ones(1, 3), torch.ones(2, 3)]
    for times in (1, 2):
        cached_backward(encode, chunks, lambda views: views[0][0].sum())  # the second is not used
        assert layer.bias.grad.tolist() == [times, times]


def test_the_generator_continues_after_the_draws_of_the_loss():
    layer = nn.Sequential(nn.Linear(3, 2), nn.Dropout())

    def encode(chunk):
        return (layer(chunk),)

    def noisy(chunks):
        return (chunks[0][0] * torch.rand(1)).sum()

    torch.manual_seed(3)
    noisy([encode(torch.ones(1, 3))])
    drawn = torch.get_rng_state()
    torch.manual_seed(3)
    cached_backward(encode, [torch.ones(1, 3)], noisy)
    assert torch.equal(torch.get_rng_state(), drawn)
