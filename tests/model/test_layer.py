"""A packed layer computes the same as the transformers layer that it is made from."""

import pytest
import torch
from transformers import XLMRobertaConfig, XLMRobertaModel

from m3rag.model.kernels.attention import PACKED
from m3rag.model.kernels.layer import PackedLayer
from m3rag.model.kernels.onednn import packable

pytestmark = pytest.mark.skipif(not packable(torch.float32), reason="needs oneDNN")


@pytest.mark.parametrize("activation", ["gelu", "relu", "gelu_new"])
@pytest.mark.parametrize("runs", [[(1, 1)], [(2, 5), (1, 16), (1, 17), (1, 30)]])
def test_the_same_hidden_states(activation, runs):
    torch.manual_seed(len(runs))
    config = XLMRobertaConfig(
        vocab_size=10,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        hidden_act=activation,
    )
    config._attn_implementation = PACKED
    layer = XLMRobertaModel(config, add_pooling_layer=False).eval().encoder.layer[0]
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    hidden = torch.randn(1, sum(texts * length for texts, length in runs), 32)
    with torch.inference_mode():
        expected = layer(hidden, None, runs=runs)
        actual = PackedLayer(layer)(hidden.clone(), None, runs=runs)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
