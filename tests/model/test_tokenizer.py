"""Ids, spans and pieces of short and long texts, from any number of threads."""

import threading

import pytest

from tests.conftest import TEXTS


@pytest.mark.parametrize("text", [t for t in TEXTS if t.strip()])
def test_spans_are_positions_in_the_original_text(tiny, text):
    [spans] = tiny.tokenizer.spans([text])
    assert len(spans) == len(tiny.token_ids([text])[0])
    assert all(0 <= a <= b <= len(text) for a, b in spans)
    covered = "".join(text[a:b] for a, b in spans)
    assert "".join(text.split()) in "".join(covered.split()) or len(covered) >= len(text.split())


def test_a_long_text_is_segmented_like_its_words(tiny):
    words = [f"word{i} 植物 растение" for i in range(9000)]
    text = " ".join(words)
    assert len(text) > 2**16, "longer than one block"
    [whole] = tiny.token_ids([text])
    assert whole == [i for ids in tiny.token_ids(words) for i in ids]
    [spans] = tiny.tokenizer.spans([text])
    pieces = tiny.tokens(whole)
    pairs = [(text[a:b], p) for (a, b), p in zip(spans, pieces, strict=True) if p != "▁"]
    assert all(surface.strip() == piece.strip("▁") for surface, piece in pairs)


def test_a_word_longer_than_a_block(tiny):
    [ids] = tiny.token_ids(["x" * 200_000])
    assert "".join(tiny.tokens(ids)).replace("▁", "") == "x" * 200_000


def test_threads_do_not_disturb_each_other(tiny):
    text = "soil moisture sensor " * 40
    wrong = []

    def cut(limit):
        for _ in range(200):
            if len(tiny.tokenizer.cut([text], limit)[0].ids) != limit:
                wrong.append(limit)

    threads = [threading.Thread(target=cut, args=(limit,)) for limit in (8, 16, 32, 64) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_tokens_are_pieces_of_the_vocabulary(tiny):
    [ids] = tiny.token_ids(["soil moisture"])
    assert "".join(tiny.tokens(ids)) == "▁soil▁moisture"
