"""The moving average of weights, compared with a loop."""

import numpy as np
import torch
from torch import nn

from m3rag.training.average import WeightAverage


def test_the_average_is_exponential_after_a_quick_start():
    network = nn.Linear(3, 2)
    network.bias.requires_grad_(False)
    average = WeightAverage(network, 0.8)
    expected = network.weight.detach().numpy().copy()
    rng = torch.Generator().manual_seed(0)
    for step in range(1, 60):
        with torch.no_grad():
            network.weight.copy_(torch.randn(2, 3, generator=rng))
        average.update(step)
        decay = min(0.8, step / (step + 9))
        expected = decay * expected + (1 - decay) * network.weight.detach().numpy()
    assert list(average.tensors) == ["weight"]
    np.testing.assert_allclose(average.tensors["weight"], expected, atol=1e-6)
    last = network.weight.detach().clone()
    with average.in_place():
        np.testing.assert_allclose(network.state_dict()["weight"], expected, atol=1e-6)
    assert torch.equal(network.weight, last)
