"""The cross-encoder gives the scores of transformers and of FlagEmbedding's reranker."""

import asyncio
import json
import pickle  # noqa: TID251  # what is tested
import re
import shutil
import threading
import warnings

import numpy as np
import pytest
import safetensors.torch
import torch

from m3rag import Hit, M3CrossEncoder, M3Model, Passage, shared_cross_encoder
from m3rag.errors import CheckpointError, ClosedError, InputError, TruncationWarning
from m3rag.model import checkpoint as checkpoints
from m3rag.model.cross_checkpoint import read_cross_encoder
from m3rag.model.shared import cross_encoder_of
from tests.conftest import TEXTS, passes_need_the_loop

QUERIES = ["¿Cómo se riega una planta?", "ปลูกต้นไม้ต้องรดน้ำบ่อยแค่ไหน", "x"]
PAIRS = [(QUERIES[i % 3], text) for i, text in enumerate(TEXTS)] + [("soil", "moss")]


@pytest.fixture
def folder(cross_folder):
    return cross_folder


@pytest.fixture
def cross(cross_encoder):
    return cross_encoder


@pytest.fixture(scope="module")
def transformers(cross_folder):
    """A function from pairs to the scores of transformers' own network, one pair at a time."""
    from transformers import AutoTokenizer, XLMRobertaForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(str(cross_folder))
    network = XLMRobertaForSequenceClassification.from_pretrained(
        str(cross_folder), dtype="float32"
    )

    def scores(pairs, max_length=512):
        found = []
        for query, passage in pairs:
            ids = tokenizer(
                query,
                passage,
                truncation="only_second",
                max_length=max_length,
                return_tensors="pt",
            )
            with torch.inference_mode():
                found.append(network.eval()(**ids).logits.item())
        return np.array(found)

    return scores


@pytest.mark.filterwarnings("ignore::m3rag.errors.TruncationWarning")
def test_scores_equal_transformers_in_every_script(cross, transformers):
    pairs = [pair for pair in PAIRS if pair[1] != " "]  # transformers drops only "" itself
    found, expected = cross.score_pairs(pairs), transformers(pairs)
    assert found.dtype == np.float32
    assert expected.std() > 0.3, "or any score would be equal"
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_scores_of_long_pairs_equal_transformers(folder, transformers):
    long = [("soil moisture " * n, "The farmer waters the plants. " * n) for n in (3, 60, 400)]
    with M3CrossEncoder.load(folder, dtype="float32", max_length=8192) as model:
        found = model.score_pairs([*long, ("soil", "moss")])
    np.testing.assert_allclose(found, transformers([*long, ("soil", "moss")], 8192), atol=1e-5)


@pytest.mark.filterwarnings("ignore")  # warnings of FlagEmbedding, and of cut texts
def test_scores_equal_flagembedding(folder, cross):
    # With transformers 5, it decodes the ids and reads the text again, without what is unknown.
    unk = cross.tokenizer.unk
    known = [unk not in ids for ids in cross.tokenizer.ids([passage for _, passage in PAIRS])]
    pairs = [pair for pair, sound in zip(PAIRS, known, strict=True) if sound]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from FlagEmbedding import FlagReranker

        theirs = FlagReranker(str(folder), use_fp16=False, devices="cpu")
        theirs.model.float()
        for max_length in (32, 512):
            expected = theirs.compute_score(pairs, max_length=max_length)
            found = cross.score_pairs(pairs, max_length=max_length)
            np.testing.assert_allclose(found, expected, atol=1e-5)
        np.testing.assert_allclose(
            cross.score_pairs(pairs[:9], normalize=True),
            theirs.compute_score(pairs[:9], normalize=True),
            atol=1e-5,
        )


def test_bfloat16_is_close(folder, cross):
    with M3CrossEncoder.load(folder, dtype="bfloat16") as model:
        found = model.score(TEXTS[0], TEXTS[:12])
    np.testing.assert_allclose(found, cross.score(TEXTS[0], TEXTS[:12]), atol=0.1)


def test_a_long_query_leaves_a_quarter_to_the_passage(cross):
    [cut] = cross.tokenizer.cut_pairs([("soil moisture " * 99, "The farmer. " * 99)], 32, 24)
    assert len(cut.ids) == 32
    assert cut.ids[25:27] == [cross.tokenizer.eos] * 2
    assert cut.ids[-1] == cross.tokenizer.eos
    assert cut.truncated
    [short] = cross.tokenizer.cut_pairs([("soil", "The farmer.")], 32, 24)
    assert not short.truncated


def test_cut_pairs_are_reported(cross):
    with pytest.warns(TruncationWarning, match=r"1 of 2 pairs was cut to 512 .* pair 1, has at"):
        cross.score("soil", ["moss", "The farmer waters the plants. " * 200])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cross.score("soil", ["moss"])


@pytest.mark.filterwarnings("ignore::m3rag.errors.TruncationWarning")
def test_threads_get_the_scores_of_one(folder):
    expected = {}
    with M3CrossEncoder.load(folder, dtype="float32", batch_tokens=256) as model:
        for limit in (20, 64):
            expected[limit] = model.score_pairs(PAIRS, max_length=limit)
        wrong, barrier, before = [], threading.Barrier(12), model.passes

        def score(seed):
            limit = (20, 64)[seed % 2]
            rows = np.random.default_rng(seed).permutation(len(PAIRS))[: 5 + seed]
            barrier.wait()
            found = model.score_pairs([PAIRS[row] for row in rows], max_length=limit)
            if np.abs(found - expected[limit][rows]).max() > 1e-5:
                wrong.append(seed)

        threads = [threading.Thread(target=score, args=(seed,)) for seed in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
        assert model.passes > before


def test_equal_pairs_go_through_the_network_once(folder):
    with M3CrossEncoder.load(folder, dtype="float32") as model:
        scores = model.score("soil", ["moss", "fern", "moss"])
        assert (model.encoded, model.passes) == (2, 1)
    assert scores[0] == scores[2] != scores[1]


async def test_ascore_equals_score_and_does_not_block_the_loop(folder, monkeypatch):
    with M3CrossEncoder.load(folder, dtype="float32") as model:
        with monkeypatch.context() as patch:
            passes_need_the_loop(model, patch)
            found = await model.ascore("soil", ["moss", "fern"])
            cancelled = asyncio.ensure_future(model.ascore("soil", ["leaf"]))
            await asyncio.sleep(0)
            cancelled.cancel()
        again = model.score("soil", ["moss", "fern"])
        np.testing.assert_allclose(found, again, atol=1e-5)


def test_progress_and_no_passages(cross):
    calls = []
    cross.score("soil", ["moss", "fern"], progress=lambda *call: calls.append(call))
    assert calls == [("scoring", 1, 2), ("scoring", 2, 2)]
    assert cross.score("soil", []).shape == (0,)
    assert cross.score_pairs([]).dtype == np.float32


def test_reranked_hits_keep_the_scores_of_the_channels(cross):
    hits = [Hit(0.5, Passage(text, text), dense=0.4, colbert=0.6) for text in TEXTS[:8]]
    found = cross.rerank("What is BGE M3?", hits, k=3)
    scores = cross.score("What is BGE M3?", TEXTS[:8], normalize=True)
    assert [hit.score for hit in found] == pytest.approx(sorted(scores, reverse=True)[:3])
    assert all((h.dense, h.colbert, h.cross_encoder) == (0.4, 0.6, h.score) for h in found)
    assert found[0].to_dict()["cross_encoder"] == found[0].score
    assert "cross_encoder" not in hits[0].to_dict()
    assert asyncio.run(cross.arerank("What is BGE M3?", hits, 3)) == found
    assert cross.rerank("soil", []) == []


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.score("soil", "moss"), "`passages` must be a list of strings, got 'moss'"),
        (lambda c: c.score("soil", [None]), "passages[0] must be a str, got NoneType"),
        (lambda c: c.score(7, ["moss"]), "`query` must be a str, got int"),
        (lambda c: c.score("soil", ["\ud800"]), "passages[0] has a lone surrogate"),
        (lambda c: c.score_pairs("soil"), "`pairs` must be a list of (query, passage)"),
        (lambda c: c.score_pairs([("soil",)]), "pairs[0] must be (query, passage), got 1 values"),
        (lambda c: c.score_pairs(["soil"]), "pairs[0] must be (query, passage), got 'soil'"),
        (lambda c: c.score("soil", ["moss"], max_length=16), "this model takes 17 to 8,192 tokens"),
        (lambda c: c.score("soil", ["moss"], max_length=8193), "this model takes 17 to 8,192"),
        (lambda c: c.rerank("soil", ["moss"]), "`hits` must be hits of a search, got 'moss'"),
        (lambda c: c.rerank("soil", [], k=0), "`k` must be at least 1, got 0"),
    ],
)
def test_wrong_arguments(cross, call, message):
    with pytest.raises(InputError, match=re.escape(message)):
        call(cross)


def test_closing_and_its_name(folder):
    with M3CrossEncoder.load(folder, dtype="float32") as model:
        assert repr(model) == f"M3CrossEncoder({str(folder)!r}, dtype=float32, device=cpu)"
        assert (model.max_length, model.tokenizer.vocab_size) == (
            512,
            M3Model.load("tiny").vocab_size,
        )
    with pytest.raises(ClosedError, match=r"Load it again with M3CrossEncoder\.load"):
        model.score("soil", ["moss"])


def test_a_pickle_is_the_shared_cross_encoder_of_the_process(folder):
    shared = shared_cross_encoder(folder, dtype="float32", max_length=64)
    assert pickle.loads(pickle.dumps(shared)) is shared
    assert cross_encoder_of(shared.spec) is shared
    assert cross_encoder_of(shared) is shared
    with pytest.raises(InputError, match="`cross_encoder` must be an M3CrossEncoder"):
        cross_encoder_of(7)
    with pytest.raises(InputError, match=r"Pass M3CrossEncoder\(…, name=…\)"):
        _ = M3CrossEncoder(read_cross_encoder(folder)).spec


def test_a_saved_model_has_the_same_fingerprint_and_scores(folder, cross, tmp_path):
    cross.save(tmp_path / "copy")
    with M3CrossEncoder.load(tmp_path / "copy", dtype="float32") as copy:
        np.testing.assert_allclose(
            copy.score("soil", TEXTS[:4]), cross.score("soil", TEXTS[:4]), atol=0.02
        )
        assert json.loads((tmp_path / "copy" / "config.json").read_text())["dtype"] == "float16"
    with pytest.raises(CheckpointError, match="A cross-encoder cannot be packed"):
        cross.save(tmp_path / "packed", packed=True)


def test_pytorch_bin_is_the_same_model(folder, cross, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    tensors = safetensors.torch.load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    tensors["roberta.embeddings.position_ids"] = torch.arange(4)[None]  # in some exports
    torch.save(tensors, copy / "pytorch_model.bin")
    with M3CrossEncoder.load(copy, dtype="float32") as model:
        assert model.fingerprint == cross.fingerprint


def test_one_kind_of_model_is_not_the_other(folder, tiny_folder):
    with pytest.raises(CheckpointError, match=r"is a cross-encoder.* Load it with M3CrossEncoder"):
        M3Model.load(folder)
    with pytest.raises(CheckpointError, match=r"is an M3 model.* Load it with M3Model\.load"):
        M3CrossEncoder.load(tiny_folder)
    with pytest.raises(CheckpointError, match=r"is a packed M3 model.* M3Model\.load"):
        M3CrossEncoder.load("small")
    with pytest.raises(CheckpointError, match=r"does not score pairs\. Build an M3Model"):
        M3CrossEncoder(checkpoints.read(tiny_folder))
    with pytest.raises(CheckpointError, match=r"of a cross-encoder\. Build an M3CrossEncoder"):
        M3Model(read_cross_encoder(folder))


def damaged(folder, tmp_path, change):
    """Return a copy of the folder with other tensors."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    tensors = safetensors.torch.load_file(copy / "model.safetensors")
    change(tensors)
    safetensors.torch.save_file(tensors, copy / "model.safetensors")
    return copy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: [t.pop(name) for name in list(t) if name.startswith("classifier")],
            r"has no head: none of its tensors begins with classifier\.",
        ),
        (lambda t: t.pop("classifier.dense.bias"), r"classifier\.dense\.bias is missing"),
        (
            lambda t: t.update({"classifier.dense.weight": torch.zeros(3, 3)}),
            r"classifier\.dense\.weight has the shape \(3, 3\), expected \(256, 256\)",
        ),
        (
            lambda t: t.update(
                {"classifier.out_proj.weight": torch.zeros(3, 256)}
                | {"classifier.out_proj.bias": torch.zeros(3)}
            ),
            "has a head for 3 labels; a cross-encoder has one",
        ),
        (
            lambda t: t.update({"classifier.out_proj.bias": torch.tensor([torch.nan])}),
            r"classifier\.out_proj\.bias contains NaN",
        ),
        (
            lambda t: t.pop("roberta.encoder.layer.0.output.dense.bias"),
            r"roberta\.encoder\.layer\.0\.output\.dense\.bias is missing",
        ),
        (
            lambda t: t.update({"classifier.out_proj.bias": torch.zeros(1, dtype=torch.int32)}),
            r"classifier\.out_proj\.bias' is int32",
        ),
    ],
)
def test_a_damaged_folder(folder, tmp_path, change, message):
    with pytest.raises(CheckpointError, match=message):
        M3CrossEncoder.load(damaged(folder, tmp_path, change))
