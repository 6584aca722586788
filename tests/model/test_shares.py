"""The threads of a narrow model encode shares of a pass, with the same views as together."""

import threading

import numpy as np
import pytest
import torch

from m3rag import M3Model
from m3rag.model import backbone
from m3rag.model.kernels import device
from m3rag.model.kernels.device import packable
from m3rag.model.tokenizer import Tokens

CPU = torch.device("cpu")
TEXTS = [f"plant {i} " * n for i, n in enumerate([150, 3, 90, 40, 200, 7, 120, 60])]
needs_packing = pytest.mark.skipif(not packable(torch.float32), reason="needs oneDNN")


def share(monkeypatch, count):
    """Make each pass have so many shares."""
    monkeypatch.setattr(backbone, "share_count", lambda *_: count)


@needs_packing
@pytest.mark.parametrize("colbert", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_the_same_views(monkeypatch, tiny, count, colbert):
    share(monkeypatch, 0)
    with M3Model.load("tiny", dtype="float32", memo_bytes=0, batch_tokens=4096) as model:
        together = model.encode(TEXTS, colbert=colbert)
        share(monkeypatch, count)
        shared = model.encode(TEXTS, colbert=colbert)
    np.testing.assert_allclose(shared.dense, together.dense, atol=1e-5)
    for i in range(len(TEXTS)):
        weights = together.sparse[i]
        assert shared.sparse[i] == pytest.approx(weights, abs=1e-5)
        if colbert:
            np.testing.assert_allclose(shared.colbert[i], together.colbert[i], atol=1e-5)


@needs_packing
def test_a_share_is_encoded_by_a_thread_alone(monkeypatch):
    share(monkeypatch, 2)
    threads = []
    with M3Model.load("tiny", memo_bytes=0, batch_tokens=4096) as model:
        views = model._worker._network._views

        def note(*args):
            threads.append((threading.current_thread().name, torch.get_num_threads()))
            return views(*args)

        monkeypatch.setattr(model._worker._network, "_views", note)
        model.encode(TEXTS)
    assert len(threads) == 2
    for name, number in threads:
        assert name.startswith("m3rag-encoding")
        assert number == 1


@needs_packing
def test_errors_of_a_share_reach_the_caller(monkeypatch):
    share(monkeypatch, 2)
    with M3Model.load("tiny", memo_bytes=0, batch_tokens=4096) as model:
        with monkeypatch.context() as patch:
            patch.setattr(model._worker._network, "hidden", lambda *_: 1 // 0)
            with pytest.raises(ZeroDivisionError):
                model.encode(TEXTS)
        assert len(model.encode(TEXTS)) == len(TEXTS)


@needs_packing
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_shares_are_in_order_and_of_similar_work(monkeypatch, count):
    share(monkeypatch, count)
    lengths = sorted(np.random.default_rng(count).integers(50, 300, 40).tolist())
    units = [[Tokens([0] * n, n, [0])] for n in lengths]
    with M3Model.load("tiny") as model:
        shares = model._worker._network._shares(units)
    assert [unit for part in shares for unit in part] == units
    assert len(shares) == count
    sizes = [sum(n * (512 + n) for n in (len(unit[0].ids) for unit in part)) for part in shares]
    assert max(sizes) - min(sizes) <= 2 * 300 * (512 + 300)


@pytest.mark.parametrize(
    ("tokens", "longest", "width", "count"),
    [
        (2048, 300, 384, 4),
        (2048, 300, 1024, 0),  # all threads share the weights of a wide model
        (900, 300, 384, 3),
        (16, 16, 384, 1),  # a query
        (104, 13, 384, 3),  # eight queries
        (2048, 2000, 384, 0),  # one long text
        (8192, 4000, 384, 2),
    ],
)
def test_how_many_shares(monkeypatch, tokens, longest, width, count):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert device.share_count(tokens, longest, width) == count
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert device.share_count(tokens, longest, width) == 0


def test_all_shares_stop_if_one_is_interrupted():
    answers = iter([False, True, False, False])
    interrupt = backbone._for_all(lambda: next(answers))
    assert interrupt is not None
    assert [interrupt() for _ in range(4)] == [False, True, True, True]
    assert backbone._for_all(None) is None


def test_a_pass_of_a_narrow_model_has_a_share_for_each_thread(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(device, "has_amx", lambda: False)
    assert device.pass_tokens(CPU, 384) == 4 * device.SHARE_TOKENS
    assert device.pass_tokens(CPU, 1024) == device.CPU_TOKENS
