"""Spans of matched words and of the best sentence, in several scripts."""

import numpy as np
import pytest

from m3rag.documents import sentences
from m3rag.explanation.alignment import align, best_sentence, matched_spans
from m3rag.model import MultiVectors
from m3rag.scoring import colbert_scores, matched_tokens

# (query, passage, a word in both, best sentence)
CASES = [
    (
        "How is soil moisture measured?",
        "Plants need light. A sensor measures the soil moisture. It costs ten euros.",
        "moisture",
        "A sensor measures the soil moisture.",
    ),
    (
        "土壤湿度怎么测量？",
        "植物需要光。传感器测量土壤湿度。它很便宜。",
        "土壤",
        "传感器测量土壤湿度。",
    ),
    (
        "كيف تقاس رطوبة التربة؟",
        "النباتات تحتاج إلى الضوء. المستشعر يقيس رطوبة التربة. السعر منخفض.",
        "التربة",
        "المستشعر يقيس رطوبة التربة.",
    ),
    (
        "मिट्टी की नमी कैसे मापें?",
        "पौधों को प्रकाश चाहिए। सेंसर मिट्टी की नमी मापता है। यह सस्ता है।",
        "मिट्टी",
        "सेंसर मिट्टी की नमी मापता है।",
    ),
    (
        "🌱 soil moisture?",
        "Light 👩🏽‍🌾 helps. The 🌱 sensor measures soil moisture. Done e\u0301.",
        "moisture",
        "The 🌱 sensor measures soil moisture.",
    ),
]


@pytest.mark.parametrize(("question", "passage", "word", "answer"), CASES)
def test_matched_words_and_best_sentence(tiny, question, passage, word, answer):
    views = tiny.encode([question, passage])
    [ids], [spans] = tiny.token_ids([passage]), tiny.tokenizer.spans([passage])
    matched = {token for token, _, _ in matched_tokens(views.sparse[0], views.sparse[1])}
    marked = "".join(passage[a:b] for a, b in matched_spans(ids, spans, matched))
    assert word in marked
    found = best_sentence(views.colbert[0], views.colbert[1], spans, sentences(passage))
    assert found is not None
    (start, end), score = found
    assert passage[start:end].strip() == answer
    assert -1 <= score <= 1


def test_adjacent_tokens_are_one_span():
    spans = [(0, 2), (2, 4), (5, 7), (9, 9)]
    assert matched_spans([7, 8, 9, 7], spans, {7, 8, 9}) == [(0, 4), (5, 7)]
    assert matched_spans([7, 8, 9, 7], spans, {8}) == [(2, 4)]
    assert matched_spans([], [], {8}) == []


def test_alignment_of_known_vectors():
    query = np.eye(2, dtype=np.float32)
    passage = np.array([[0.6, 0.8], [1, 0], [0, -1], [1, 0]], np.float16)
    rows, similarities = align(query, passage)
    assert rows.tolist() == [1, 0], "of equal rows, the first"
    assert similarities == pytest.approx([1, 0.8], abs=1e-3)
    assert align(query, -query[:1])[1].tolist() == [-1, 0]


def test_the_mean_of_the_alignment_is_the_colbert_score():
    rng = np.random.default_rng(5)
    for t, n in ((1, 1), (1, 9), (7, 1), (30, 200)):
        query, passage = rng.normal(size=(t, 16)), rng.normal(size=(n, 16)).astype(np.float32)
        score = colbert_scores(query, MultiVectors.from_rows([passage]))[0]
        assert align(query, passage)[1].mean() == pytest.approx(score, rel=1e-5)


def test_best_sentence_of_known_vectors():
    query = np.eye(2, dtype=np.float32)
    passage = np.array([[1, 0], [0.6, 0.8], [0, 1], [0.6, 0.8]], np.float32)  # the last is </s>
    spans = [(0, 1), (2, 3), (4, 5)]
    found = best_sentence(query, passage, spans, [(0, 4), (4, 6)])
    assert found is not None
    span, score = found
    assert span == (0, 4)
    assert score == pytest.approx((1 + 0.8) / 2)


def test_without_tokens_there_is_no_best_sentence():
    query = np.eye(2, dtype=np.float32)
    assert best_sentence(query, query[:1], [], [(0, 4)]) is None
