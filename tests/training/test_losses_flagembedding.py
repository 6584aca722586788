"""The M3 loss against FlagEmbedding 1.4.2: values and gradients."""

import warnings
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from transformers import XLMRobertaConfig, XLMRobertaModel

from m3rag.training.losses import LossSettings, m3_loss
from m3rag.training.similarity import colbert_scores, dense_scores, sparse_scores
from tests.training.conftest import random_scores

VOCABULARY, WIDTH = 60, 16
TOKENIZER = SimpleNamespace(
    cls_token_id=0, pad_token_id=1, eos_token_id=2, unk_token_id=3, padding_side="right"
)


@pytest.fixture(scope="module")
def flag():
    """A function of settings that returns FlagEmbedding's training model of a small XLM-RoBERTa."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from FlagEmbedding.finetune.embedder.encoder_only.m3.modeling import (
            EncoderOnlyEmbedderM3Model,
        )
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=40,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.5,
    )
    parts = {
        "model": XLMRobertaModel(config, add_pooling_layer=False),
        "colbert_linear": nn.Linear(WIDTH, WIDTH),
        "sparse_linear": nn.Linear(WIDTH, 1),
    }

    def build(**kwargs):
        return EncoderOnlyEmbedderM3Model(
            parts, tokenizer=TOKENIZER, normalize_embeddings=True, temperature=0.02, **kwargs
        ).double()

    return build


def texts(seed, count, longest):
    """Return token ids `<s> … </s>` of several lengths, padded; ids repeat within a text."""
    rng = torch.Generator().manual_seed(seed)
    ids = torch.ones(count, longest, dtype=torch.long)
    for row in ids:
        length = int(torch.randint(4, longest + 1, (), generator=rng))
        row[:length] = torch.randint(4, 30, (length,), generator=rng)
        row[0], row[length - 1] = 0, 2
    return {"input_ids": ids, "attention_mask": (ids != 1).long()}


def our_scores(model, queries, passages):
    """Return our scores of the representations of the same network."""
    encoded = []
    for features in (queries, passages):
        hidden = model.model(**features).last_hidden_state
        ids, mask = features["input_ids"], features["attention_mask"].bool()
        weights = model.sparse_linear(hidden).relu()[..., 0] * (ids > 3)
        colbert = F.normalize(model.colbert_linear(hidden[:, 1:]), dim=-1)
        dense = F.normalize(hidden[:, 0], dim=-1)
        encoded.append((dense, (ids, weights), (colbert, mask[:, 1:])))
    (qd, qs, qc), (pd, ps, pc) = encoded
    return {
        "dense": dense_scores(qd, pd),
        "sparse": sparse_scores(*qs, *ps),
        "colbert": colbert_scores(*qc, *pc),
    }


@pytest.mark.parametrize("distil", [False, True])
@pytest.mark.parametrize("teacher", ["none", "kl_div", "m3_kd_loss"])
@pytest.mark.parametrize(("n", "group"), [(4, 1), (3, 2), (2, 4)])
@pytest.mark.filterwarnings("ignore")  # of FlagEmbedding
def test_the_unified_loss_and_its_gradients_are_flagembeddings(flag, n, group, teacher, distil):
    model = flag(
        use_self_distill=distil,
        kd_loss_type="m3_kd_loss" if teacher == "none" else teacher,
    )
    queries, passages = texts(n, n, 9), texts(n + group, n * group, 14)
    rng = torch.Generator().manual_seed(group)
    grades = None if teacher == "none" else 3 * torch.randn(n, group, generator=rng)
    flat = None if grades is None else grades.flatten().tolist()
    theirs = model(queries, passages, teacher_scores=flat).loss
    ours = m3_loss(
        our_scores(model, queries, passages),
        torch.arange(n) * group,
        LossSettings(temperature=0.02, distil=distil, teacher=teacher),
        teacher_scores=grades,
    )
    torch.testing.assert_close(ours["loss"], theirs, rtol=1e-6, atol=1e-6)
    assert theirs.item() > 0.01
    parameters = list(model.parameters())
    mine, yours = (
        torch.autograd.grad(loss, parameters, allow_unused=True) for loss in (ours["loss"], theirs)
    )
    assert [g is None for g in mine] == [g is None for g in yours]  # of unused parameters
    used = [(a, b) for a, b in zip(mine, yours, strict=True) if a is not None]
    assert len(used) > len(parameters) / 2
    for a, b in used:
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore")  # of FlagEmbedding
def test_every_part_is_flagembeddings(flag):
    model = flag()
    scores, target = random_scores(0, 4, 12), torch.arange(4) * 3
    rng = torch.Generator().manual_seed(1)
    grades = torch.randn(4, 3, generator=rng, dtype=torch.float64)
    taught = grades.softmax(dim=1)
    scaled = {view: x / 0.02 for view, x in scores.items()}
    scaled["ensemble"] = model.ensemble_score(
        None, None, *(scaled[view] for view in ("dense", "sparse", "colbert"))
    )
    ours = m3_loss(scores, target, LossSettings())
    for name, x in scaled.items():
        torch.testing.assert_close(ours[name], model.compute_loss(x, target))
    queries, passages = torch.empty(4, 1), torch.empty(12, 1)  # only their counts are read
    for kind in ("kl_div", "m3_kd_loss"):
        ours = m3_loss(scores, target, LossSettings(teacher=kind), teacher_scores=grades)
        for name, x in scaled.items():
            if kind == "kl_div":
                x_group = model.get_local_score(queries, passages, x)
                theirs = model.distill_loss(kind, taught, x_group) + model.compute_loss(x, target)
            else:
                theirs = model.distill_loss(kind, taught, x, group_size=3)
            torch.testing.assert_close(ours[name], theirs)
