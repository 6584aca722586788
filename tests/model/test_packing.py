"""A packed pass equals transformers with one text at a time, in float32."""

import numpy as np
import pytest
import torch
from transformers import XLMRobertaModel

from m3rag import M3Model
from m3rag.model.lookup import BUNDLED

BUDGET = 256


@pytest.mark.parametrize("words", [1, 5, 30, 120, 240, 900])
def test_texts_of_any_length_beside_texts_of_one_token(words):
    reference = XLMRobertaModel.from_pretrained(BUNDLED["tiny"], add_pooling_layer=False).eval()
    texts = ["x", "plant " * words, "y", "water the fern " * (words // 3 + 1), "z"]
    with M3Model.load("tiny", dtype="float32", batch_tokens=BUDGET) as model:
        ours = model.encode(texts)
        ids = [tokens.ids for tokens in model.tokenizer.cut(texts, 8192)]
    assert words < 900 or max(map(len, ids)) > BUDGET
    head = torch.load(BUNDLED["tiny"] / "colbert_linear.pt", weights_only=True)
    for i, tokens in enumerate(ids):
        with torch.inference_mode():
            hidden = reference(torch.tensor([tokens])).last_hidden_state[0]
            vectors = hidden[1:] @ head["weight"].float().T + head["bias"].float()
        for actual, vector in ((ours.dense[i], hidden[0]), (ours.colbert[i], vectors)):
            expected = torch.nn.functional.normalize(vector, dim=-1).numpy()
            np.testing.assert_allclose(actual, expected, atol=1e-5)
