"""Scores equal those of m3rag.scoring for each query and passage."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

from m3rag import Document, split
from m3rag.errors import InputError
from m3rag.evaluation import CorpusDocument, Query, RetrievalSet, measure, score
from m3rag.evaluation.evaluator import named_systems
from m3rag.evaluation.maxsim import maxsim
from m3rag.model import MultiVectors
from m3rag.scoring import (
    PRESETS,
    colbert_scores,
    dense_scores,
    reciprocal_rank_fusion,
    sparse_scores,
    weighted_sum,
)

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=30)


@settings(max_examples=30, deadline=None)
@given(queries=LENGTHS, passages=LENGTHS, half=st.booleans(), long=st.booleans())
def test_maxsim_is_colbert_scores(queries, passages, half, long):
    rng = np.random.default_rng(len(queries) * 31 + len(passages))
    dtype = np.float16 if half else np.float32
    if long:
        queries = [1500, *queries]  # one query has more vectors than a product has rows

    def vectors(lengths):
        rows = [rng.standard_normal((n, 8)).astype(dtype) - dtype(3) for n in lengths]
        return MultiVectors.from_rows(rows)

    encoded, stored = vectors(queries), vectors(passages)
    expected = np.stack([colbert_scores(query, stored) for query in encoded])
    np.testing.assert_allclose(maxsim(encoded, stored), expected, rtol=1e-5, atol=1e-5)


def test_channels_are_brute_force(scores, tiny):
    for scored in scores.slices:
        queries = tiny.encode([query.text for query in scored.slice.queries])
        passages = tiny.encode([passage.text for passage in scored.slice.passages])
        tokens = tiny.token_ids([passage.text for passage in scored.slice.passages])
        bm25 = BM25Okapi(tokens)
        query_tokens = tiny.token_ids([query.text for query in scored.slice.queries])
        expected = {
            "dense": dense_scores(queries.dense, passages.dense),
            "sparse": sparse_scores(queries.sparse, passages.sparse),
            "colbert": np.stack([colbert_scores(q, passages.colbert) for q in queries.colbert]),
            "bm25": np.stack([bm25.get_scores(query) for query in query_tokens]),
        }
        assert scored.channels.keys() == expected.keys()
        for channel, matrix in expected.items():
            np.testing.assert_allclose(scored.channels[channel], matrix, rtol=1e-5, atol=1e-5)


def test_slices_are_the_languages(scores):
    assert [(one.slice.language, len(one.slice.units)) for one in scores.slices] == [
        ("en", 12),
        ("es", 12),
        ("zh", 12),
    ]
    assert all(len(one.slice.queries) == 66 for one in scores.slices)
    assert scores.left_out == 0


def test_fusions_are_those_of_an_index(scores):
    one = scores.slices[0]
    views = {name: one.channels[name] for name in ("dense", "sparse", "colbert")}
    weights = {"dense": 1.0, "sparse": 0.3, "colbert": 2.0}
    np.testing.assert_array_equal(one.fused((1, 0.3, 2)), weighted_sum(views, weights))
    equal = dict.fromkeys(views, 1.0)
    for row, fused in enumerate(one.fused("rrf")):
        expected = reciprocal_rank_fusion({name: s[row] for name, s in views.items()}, equal)
        np.testing.assert_array_equal(fused, expected)
    np.testing.assert_array_equal(one.fused((0, 0, 0, 2)), one.channels["bm25"])


def test_units_without_a_shared_token_are_not_in_a_lexical_run(scores):
    for one in scores.slices:
        for channel in ("sparse", "bm25"):
            shared = one.channels[channel] > 0
            assert not shared.all()
            np.testing.assert_array_equal(np.isfinite(one.ranked(channel)), shared)
        assert np.isfinite(one.ranked("default")).all()


def test_a_document_scores_as_its_best_passage(tiny, xquad):
    scored = score(tiny, xquad, pairs=["en-es"], every=11, max_tokens=64, overlap=0)
    (one,) = scored.slices
    owners = np.array([passage.document_id for passage in one.slice.passages])
    assert len(owners) > len(one.slice.units)
    fused, ranked = one.fused("default"), one.ranked("default")
    for column, unit in enumerate(one.slice.units):
        best = fused[:, owners == unit].max(axis=1)
        np.testing.assert_array_equal(ranked[:, column], best)


def test_a_document_may_score_as_its_best_three_passages(tiny, xquad):
    options = {"pairs": ["es-en"], "max_tokens": 32, "overlap": 4, "every": 11}
    one = score(tiny, xquad, channels=("dense", "sparse"), aggregate="sum", **options).slices[0]
    ends = [*one.slice.starts[1:], len(one.slice.passages)]
    assert max(end - start for start, end in zip(one.slice.starts, ends, strict=True)) > 3
    fused, dense, sparse = (one.ranked(name) for name in ((1, 1, 0), "dense", "sparse"))
    both = (one.channels["dense"] + one.channels["sparse"]) / 2
    for unit, (start, end) in enumerate(zip(one.slice.starts, ends, strict=True)):
        for row in range(len(one.slice.queries)):
            for passages, documents in ((both, fused), (one.channels["dense"], dense)):
                best = sorted(passages[row, start:end].tolist())[-3:]
                assert documents[row, unit] == pytest.approx(sum(best), abs=1e-5)
            shared = [value for value in one.channels["sparse"][row, start:end] if value > 0]
            expected = sum(sorted(shared)[-3:]) if shared else -np.inf
            assert sparse[row, unit] == pytest.approx(expected, abs=1e-5)


def test_relevant_passages_overlap_the_gold_span(passage_scores, xquad, tiny):
    texts = {document.id: document.text for document in xquad.corpus}
    judged = 0
    for one in passage_scores.slices:
        cut = {
            passage.id: passage
            for document in {unit.rpartition("#")[0] for unit in one.slice.units}
            for passage in split(
                Document(document, texts[document]), tiny.tokenizer, max_tokens=64, overlap=16
            )
        }
        assert set(one.slice.units) == cut.keys()
        for query, relevant in zip(one.slice.queries, one.slice.relevant, strict=True):
            (gold,) = (
                xquad.qrels[query.id].keys()
                & texts.keys()
                & {unit.rpartition("#")[0] for unit in relevant}
            )
            first, last = query.spans[gold]
            expected = {
                name
                for name, passage in cut.items()
                if passage.document_id == gold
                and set(range(passage.start, passage.end)) & set(range(first, last))
            }
            assert relevant.keys() == expected
            judged += 1
    assert judged == 3 * 66


def test_pooled_ranks_the_whole_corpus(tiny, xquad, scores):
    pooled = score(tiny, xquad, channels=["dense"], pairs="pooled", every=11)
    (one,) = pooled.slices
    assert len(one.slice.units) == 36
    assert {len(relevant) for relevant in one.slice.relevant} == {3}
    sliced = scores.slices[1]
    columns = [one.slice.units.index(unit) for unit in sliced.slice.units]
    rows = [
        [query.id for query in sliced.slice.queries].index(query.id) for query in one.slice.queries
    ]
    np.testing.assert_allclose(
        one.channels["dense"][:, columns], sliced.channels["dense"][rows], rtol=1e-5, atol=1e-6
    )


def test_subsets_are_separate_sets(tiny):
    corpus = [CorpusDocument(f"{s}{i}", f"{s} word{i}", "en", s) for s in "ab" for i in range(3)]
    queries = [Query(f"q{s}", "word1", "es", s) for s in "ab"]
    data = RetrievalSet("two", corpus, queries, {"qa": {"a1": 1}, "qb": {"b1": 1, "a2": 1}})
    scored = score(tiny, data, channels=["bm25"])
    assert [(one.slice.subset, one.slice.units) for one in scored.slices] == [
        ("a", ["a0", "a1", "a2"]),
        ("b", ["b0", "b1", "b2"]),
    ]
    assert [list(one.slice.relevant[0]) for one in scored.slices] == [["a1"], ["b1"]]
    assert measure(scored).pairs["es-en"]["bm25"]["recall@1"] == 1.0


def test_queries_without_an_answer_in_a_slice_are_left_out_and_counted(tiny):
    corpus = [CorpusDocument("de1", "Wasser", "de"), CorpusDocument("en1", "water", "en")]
    queries = [Query("q1", "agua", "es"), Query("q2", "agua fría", "es"), Query("q3", "x", "es")]
    data = RetrievalSet("few", corpus, queries, {"q1": {"de1": 1, "en1": 1}, "q2": {"en1": 1}})
    scored = score(tiny, data, channels=["dense"])
    assert [[q.id for q in one.slice.queries] for one in scored.slices] == [["q1"], ["q1", "q2"]]
    assert scored.left_out == 3
    assert measure(scored).left_out == 3


def test_texts_without_words(tiny):
    corpus = [CorpusDocument("empty", ""), CorpusDocument("blank", " \n")]
    data = RetrievalSet("void", corpus, [Query("q", "")], {"q": {"empty": 1}})
    report = measure(score(tiny, data))
    assert report.channels["bm25"]["recall@100"] == 0.0
    assert report.channels["dense"]["recall@100"] == 1.0


def test_progress_reaches_the_end_of_every_stage(tiny, xquad):
    reports = {}

    def progress(stage, *counts):
        reports[stage] = counts

    measure(score(tiny, xquad, every=11, progress=progress), progress=progress)
    assert reports == {
        "encoding queries": (6, 6),
        "scoring passages": (36, 36),
        "measuring rankings": (6 * 3 * 9, 6 * 3 * 9),
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": []}, "`channels` must be one or more of dense, sparse, colbert, bm25, got"),
        ({"channels": ["dens"]}, "`channels` must be one or more of"),
        ({"pairs": ["en-fr"]}, "'en-fr' is not a pair of languages.*The languages are en, es, zh"),
        ({"pairs": ["en"]}, "'en' is not a pair of languages"),
        ({"level": "word"}, '`level` must be "document" or "passage", got \'word\''),
        ({"max_tokens": 8}, "max_tokens=8 is too small"),
    ],
)
def test_errors(options, message, tiny, xquad):
    with pytest.raises(InputError, match=message):
        score(tiny, xquad, **options)


def test_passages_need_spans(tiny):
    data = RetrievalSet("plain", [CorpusDocument("d", "t")], [Query("q", "t")], {"q": {"d": 1}})
    with pytest.raises(InputError, match=r'no spans.*Use level "document"'):
        score(tiny, data, level="passage")


def test_a_fusion_needs_its_channels(tiny, xquad):
    scored = score(tiny, xquad, channels=["dense", "sparse"], every=22)
    assert measure(scored).channels.keys() == {"dense", "sparse"}
    with pytest.raises(InputError, match="need the channel colbert"):
        measure(scored, weights=["default"])
    with pytest.raises(InputError, match="need the channel colbert"):
        scored.slices[0].fused("rrf")
    with pytest.raises(InputError, match="all zero"):
        measure(scored, weights=[(0, 0, 0)])
    assert "0.5/0.5/0" in measure(scored, weights=[(0.5, 0.5, 0)]).channels


def test_passages_of_a_document_are_read_together(tiny, xquad):
    scored = score(
        tiny, xquad, pairs=["en-es"], every=11, max_tokens=64, overlap=0, context="document"
    )
    (one,) = scored.slices
    queries = tiny.encode([query.text for query in one.slice.queries])
    names = {passage.document_id for passage in one.slice.passages}
    assert len(one.slice.passages) > len(names), "no document has several passages"
    for name in names:
        columns = [i for i, p in enumerate(one.slice.passages) if p.document_id == name]
        texts = [one.slice.passages[i].text for i in columns]
        views = tiny.encode(texts, documents=[name] * len(columns))
        expected = dense_scores(queries.dense, views.dense)
        np.testing.assert_allclose(one.channels["dense"][:, columns], expected, atol=1e-5)


def test_several_cls_in_long_passages(tiny):
    text = "The fern stands in the shade. " * 100
    data = RetrievalSet("one", [CorpusDocument("d", text)], [Query("q", "Where?")], {"q": {"d": 1}})
    (one,) = score(tiny, data, max_tokens=2048, mcls=256).slices
    views = tiny.encode(["Where?", text.strip()])
    mcls = tiny.encode([text.strip()], mcls=256)
    found = one.channels["dense"][0, 0]
    assert found == pytest.approx(dense_scores(views.dense[:1], mcls.dense)[0, 0], abs=1e-5)
    assert found != pytest.approx(dense_scores(views.dense[:1], views.dense[1:])[0, 0], abs=1e-5)
    with pytest.raises(InputError, match="`context` must be one of passage, document, got 'no'"):
        score(tiny, data, context="no")


def test_the_presets_of_a_model_are_evaluated_by_name():
    own = {"default": {"colbert": 1.0}, "words": {"sparse": 1.0, "bm25": 0.1}}
    systems = named_systems(("dense", "sparse", "colbert"), None, PRESETS | own)
    assert systems["default"] == {"colbert": 1.0}
    assert systems["cross-lingual"] == {"dense": 1.0, "sparse": 0.1, "colbert": 1.0}
    assert "words" not in systems  # bm25 is not scored
    assert named_systems(("sparse", "bm25"), ["words"], own)["words"] == own["words"]
    with pytest.raises(InputError, match="words"):
        named_systems(("sparse", "bm25"), ["words"])
