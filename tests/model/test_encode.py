"""One call gives three views in one pass; invalid input raises a specific error."""

import asyncio
import gc
import threading
import time
import weakref

import numpy as np
import pytest

from m3rag import Encoding, M3Model
from m3rag.errors import InputError, TruncationWarning
from tests.conftest import TEXTS, passes_need_the_loop


def test_shapes_and_types(tiny):
    enc = tiny.encode(TEXTS)
    assert len(enc) == len(TEXTS)
    assert enc.dense.shape == (len(TEXTS), tiny.dim)
    assert enc.dense.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(enc.dense, axis=1), 1, atol=1e-5)
    assert enc.sparse.indptr.dtype == np.int64
    assert enc.sparse.indices.dtype == np.int32
    assert enc.sparse.values.dtype == np.float32
    assert (enc.sparse.values > 0).all()
    assert enc.colbert.vectors.flags.c_contiguous
    assert enc.colbert.vectors.base is None, "a view would keep the whole batch alive"
    for i, n in enumerate(enc.n_tokens):
        assert enc.colbert[i].shape == (n - 1, tiny.colbert_dim)
        ids, _ = enc.sparse.rows(i)
        assert (np.diff(ids) > 0).all(), "ascending, each id once"
    assert not enc.truncated.any()


def test_sparse_item_is_a_plain_dict(tiny):
    weights = tiny.encode(["soil moisture sensor"]).sparse[0]
    assert type(weights) is dict
    assert all(type(k) is int and type(w) is float for k, w in weights.items())


def test_special_tokens_carry_no_weight(tiny):
    weights = tiny.encode(["</s> <s> <pad> <unk> soil 🫥"]).sparse[0]
    assert not weights.keys() & set(tiny.tokenizer.unweighted)


def test_indexing_and_slicing(tiny):
    enc = tiny.encode(TEXTS)
    assert isinstance(enc[2], Encoding)
    assert len(enc[2]) == 1
    np.testing.assert_array_equal(enc[-1].dense[0], enc.dense[-1])
    part = enc[2:5]
    assert len(part) == 3
    assert part.sparse[1] == enc.sparse[3]
    np.testing.assert_array_equal(part.colbert[2], enc.colbert[4])
    chosen = enc[[4, 1]]
    np.testing.assert_array_equal(chosen.dense, enc.dense[[4, 1]])
    assert sum(len(e) for e in enc) == len(enc)
    with pytest.raises(IndexError, match="Text 99 is out of range for an encoding of 18 texts"):
        enc[99]


def test_no_texts(tiny):
    enc = tiny.encode([])
    assert len(enc) == 0
    assert enc.dense.shape == (0, tiny.dim)
    assert enc.colbert.vectors.shape == (0, tiny.colbert_dim)
    assert len(enc.sparse) == len(enc.colbert) == 0


def test_a_view_that_was_not_requested(tiny):
    enc = tiny.encode(["soil"], colbert=False)
    assert enc.channels == ("dense", "sparse")
    with pytest.raises(InputError, match="no colbert view"):
        _ = enc.colbert


def test_one_pass_for_all_views_and_none_for_texts_in_the_memo(fresh):
    fresh.encode(["soil", "water"])
    assert (fresh.passes, fresh.encoded) == (1, 2)
    fresh.encode(["water", "soil"], dense=True, sparse=False, colbert=False)
    fresh.encode(["soil"])
    assert (fresh.passes, fresh.encoded) == (1, 2)


def test_requesting_colbert_later_needs_a_pass(fresh):
    fresh.encode(["soil"], colbert=False)
    assert len(fresh.encode(["soil"]).colbert[0]) > 1
    assert fresh.passes == 2


def test_equal_texts_are_encoded_once(fresh):
    enc = fresh.encode(["soil"] * 50)
    assert fresh.encoded == 1
    assert (enc.dense == enc.dense[0]).all()


def test_memo_is_bounded_in_bytes():
    with M3Model.load("tiny", dtype="float32", memo_bytes=100_000) as model:
        model.encode([f"passage number {i} about soil" for i in range(300)])
        memo = model._worker._memo
        assert 0 < memo.nbytes <= 100_000
        assert 0 < len(memo) < 300


def test_memo_can_be_turned_off():
    with M3Model.load("tiny", dtype="float32", memo_bytes=0) as model:
        model.encode(["soil"])
        model.encode(["soil"])
        assert model.passes == 2


def test_truncation_gives_a_warning(tiny):
    with pytest.warns(
        TruncationWarning, match=r"1 of 2 texts was cut to 16 tokens.*text 1, has 1,400"
    ) as w:
        enc = tiny.encode(["short", "soil moisture " * 100], max_length=16)
    assert w[0].filename == __file__, "the warning points at the caller"
    assert enc.truncated.tolist() == [False, True]
    assert enc.n_tokens.tolist() == [len(tiny.token_ids(["short"])[0]) + 2, 16]


def test_a_cut_text_keeps_its_end_of_sentence_token(tiny):
    [cut] = tiny.tokenizer.cut(["soil moisture " * 100], 16)
    assert (cut.ids[0], cut.ids[-1], len(cut.ids)) == (tiny.tokenizer.bos, tiny.tokenizer.eos, 16)


def test_only_the_start_of_ten_megabytes_is_encoded(tiny):
    text = "soil moisture sensors measure water. " * 280_000
    with pytest.warns(TruncationWarning, match=r"cut to 8,192 tokens.*10,360,000 characters"):
        enc = tiny.encode([text], colbert=False)
    assert enc.n_tokens[0] == 8192


def test_progress_counts_every_text(tiny):
    reports = []
    tiny.encode([f"text {i}" for i in range(300)], progress=lambda *report: reports.append(report))
    assert reports == [("encoding", i + 1, 300) for i in range(300)]


def test_an_error_of_the_progress_callback_reaches_only_its_caller(fresh):
    def fail(stage, done, total):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fresh.encode(["one", "two"], progress=fail)
    assert len(fresh.encode(["one"])) == 1


@pytest.mark.parametrize(
    ("texts", "match"),
    [
        ("one string", "`texts` must be a list, got one string"),
        ([1], r"texts\[0\] must be a str, got int"),
        (["fine", None], r"texts\[1\] must be a str, got NoneType"),
        ([b"bytes"], r"texts\[0\] must be a str, got bytes"),
        (["lone \ud800 surrogate"], r"lone surrogate at character 5"),
    ],
)
def test_wrong_texts(tiny, texts, match):
    with pytest.raises(InputError, match=match):
        tiny.encode(texts)


@pytest.mark.parametrize("limit", [2, 0, -1, 8193])
def test_max_length_out_of_range(tiny, limit):
    with pytest.raises(InputError, match=r"takes 3 to 8,192 tokens"):
        tiny.encode(["soil"], max_length=limit)


@pytest.mark.parametrize("limit", [5.0, "5", True])
def test_max_length_of_the_wrong_type(tiny, limit):
    with pytest.raises(InputError, match="`max_length` must be an integer, got"):
        tiny.encode(["soil"], max_length=limit)


def test_no_view_requested(tiny):
    with pytest.raises(InputError, match="all False"):
        tiny.encode(["soil"], dense=False, sparse=False, colbert=False)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"dtype": "float64"}, '"bfloat16" or "float16", got \'float64\''),
        ({"dtype": "float16", "device": "cpu"}, "emulated"),
        ({"device": "abacus"}, "no device"),
    ],
)
def test_invalid_settings(options, match):
    with pytest.raises(InputError, match=match):
        M3Model.load("tiny", **options)


def test_bfloat16_is_close_to_float32(tiny):
    with M3Model.load("tiny", dtype="bfloat16") as model:
        enc, exact = model.encode(TEXTS), tiny.encode(TEXTS)
    assert (enc.dense * exact.dense).sum(1).min() > 0.995
    assert enc.colbert.vectors.dtype == np.float16


def test_a_closed_model(tiny_folder):
    model = M3Model.load(tiny_folder)
    model.close()
    model.close()
    with pytest.raises(InputError, match="closed"):
        model.encode(["soil"])


def test_collecting_a_model_ends_its_thread(tiny_folder):
    model = M3Model.load(tiny_folder)
    thread, reference = model._worker._thread, weakref.ref(model)
    del model
    gc.collect()
    assert reference() is None
    thread.join(5)
    assert not thread.is_alive()


def test_closing_fails_waiting_requests(tiny_folder):
    model = M3Model.load(tiny_folder, dtype="float32")
    errors = []

    def encode():
        try:
            model.encode([f"a long request, text {i} " * 30 for i in range(2000)])
        except InputError as error:
            errors.append(error)

    thread = threading.Thread(target=encode)
    thread.start()
    while model.passes == 0:
        time.sleep(0.001)
    model.close()
    thread.join(10)
    assert "closed before it encoded this text" in str(errors[0])


async def test_aencode_equals_encode(tiny):
    enc = await tiny.aencode(TEXTS)
    expected = tiny.encode(TEXTS)
    np.testing.assert_array_equal(enc.dense, expected.dense)


async def test_aencode_leaves_the_event_loop_free(fresh, monkeypatch):
    passes_need_the_loop(fresh, monkeypatch)
    assert len(await fresh.aencode(TEXTS)) == len(TEXTS)


async def test_a_cancelled_request_is_dropped(fresh):
    task = asyncio.create_task(fresh.aencode([f"text {i} " * 60 for i in range(3000)]))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await fresh.aencode(["afterwards"])
    assert fresh.encoded < 3000


def test_a_short_request_overtakes_a_long_one(fresh):
    order = []
    started = threading.Event()

    def encode_long():
        texts = [f"passage {i} " * 40 for i in range(600)]
        fresh.encode(texts, progress=lambda *_: started.set())
        order.append("long")

    thread = threading.Thread(target=encode_long)
    thread.start()
    started.wait(10)
    fresh.encode(["a question"])
    order.append("short")
    thread.join()
    assert order == ["short", "long"]


def test_waiting_requests_are_encoded_together(fresh):
    gate = threading.Event()
    # The progress callback of the first request blocks the model's thread until the others wait.
    first = threading.Thread(
        target=fresh.encode, args=(["first"],), kwargs={"progress": lambda *_: gate.wait(10)}
    )
    first.start()
    while fresh.passes == 0:
        time.sleep(0.001)
    threads = [threading.Thread(target=fresh.encode, args=([f"question {i}"],)) for i in range(8)]
    for thread in threads:
        thread.start()
    while fresh._worker._inbox.qsize() < 8:
        time.sleep(0.001)
    gate.set()
    for thread in [first, *threads]:
        thread.join()
    assert fresh.passes == 2
