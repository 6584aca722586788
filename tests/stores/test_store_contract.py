"""The contract of a store: each test runs against each store, with the oracle's scores."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from m3rag.documents import Passage
from m3rag.index import QueryPlan
from m3rag.stores.filters import Equals, Filter, Not, Range
from m3rag.stores.memory import MemoryStore
from tests.stores.stores import COLBERT_DIM, DIM, TOLERANCE, make, named, unit, weights

CHANNELS = ("dense", "sparse", "colbert", "bm25")


def plan(rng, retrieve=CHANNELS, score=CHANNELS, candidates=20, where=None):
    return QueryPlan(
        retrieve,
        score,
        candidates,
        where,
        dense=unit(rng, DIM),
        sparse=weights(rng) | {1: 0.5},
        colbert=unit(rng, 5, COLBERT_DIM),
        bm25={t: float(rng.integers(1, 3)) for t in weights(rng, vocabulary=25)} | {2: 1.0},
    )


def scores(candidates, channel):
    return dict(zip(candidates.ids, candidates.scores[channel].tolist(), strict=True))


def assert_scores(candidates, oracle, query):
    for channel in query.score:
        expected = oracle.scores(channel, query)
        for i, score in scores(candidates, channel).items():
            assert score == pytest.approx(expected[i], abs=TOLERANCE[channel], rel=1e-5), channel


def test_an_empty_store_finds_nothing(store, rng):
    (found,) = store.search([plan(rng)])
    assert list(found.ids) == []
    assert {c: len(found.scores[c]) for c in CHANNELS} == dict.fromkeys(CHANNELS, 0)
    assert store.count() == 0
    assert store.get(["a"]) == [None]
    assert store.scan(None, None, 10) == ([], None)


def test_a_passage_comes_back_as_it_was(store, rng):
    passage = Passage(
        "id/ü 漢字 🌱",
        "text\n\twith “quotes” and \x00",
        {"lang": "es", "n": 3, "f": 3.0, "b": True, "none": None, "l": ["a", "b"], "d": {"x": [1]}},
        "docs/año.md",
        10,
        25,
        ("One", "Two"),
    )
    bare = Passage("bare", "")
    store.add(make(rng, [passage, bare]))
    assert store.get(["bare", "missing", passage.id]) == [bare, None, passage]
    assert type(store.get([passage.id])[0].metadata["f"]) is float


def test_the_same_id_replaces(store, rng):
    store.add(make(rng, ["a", "b"]))
    new = make(rng, [Passage("a", "new text")])
    store.add(new)
    assert store.count() == 2
    assert store.get(["a"])[0].text == "new text"
    query = replace(plan(rng, ("dense",), ("dense", "sparse")), dense=new.dense[0])
    (found,) = store.search([query])
    assert scores(found, "dense")["a"] == pytest.approx(1.0, abs=1e-5)
    assert store.term_weights(["a"])[0] == pytest.approx(new.sparse[0])


def test_delete_counts_what_was_there(store, rng):
    store.add(make(rng, ["a", "b", "c"]))
    assert store.delete(["a", "c", "missing"]) == 2
    assert store.delete(["a"]) == 0
    assert store.count() == 1
    (found,) = store.search([plan(rng)])
    assert list(found.ids) == ["b"]


def test_delete_where(store, rng):
    store.add(make(rng, [Passage(f"p{i}", "x", {"n": i}) for i in range(10)]))
    assert store.delete_where(Range("n", gte=3, lt=7)) == 4
    assert {p.id for p in store.scan(None, None, 20)[0]} == {"p0", "p1", "p2", "p7", "p8", "p9"}


def test_count_where(store, rng):
    store.add(make(rng, [Passage(f"p{i}", "x", {"n": i}) for i in range(10)]))
    assert store.count(Range("n", gte=3)) == 7
    assert store.count(Equals("n", 99)) == 0


@pytest.mark.parametrize("where", [None, Not(Equals("n", 4))])
def test_scan_gives_each_passage_once(store, rng, where):
    store.add(make(rng, [Passage(f"p{i}", "x", {"n": i}) for i in range(25)]))
    seen, after = [], None
    while True:
        page, after = store.scan(where, after, 7)
        assert len(page) <= 7
        seen += [p.id for p in page]
        if after is None:
            break
    assert sorted(seen) == sorted(f"p{i}" for i in range(25) if where is None or i != 4)


def test_term_weights_come_back(store, rng):
    points = make(rng, named(5))
    store.add(points)
    found = store.term_weights(["p3", "missing", "p0"])
    assert found[0] == pytest.approx(points.sparse[3])
    assert found[1] == {}
    assert found[2] == pytest.approx(points.sparse[0])


def test_dense_vectors_come_back(store, rng):
    points = make(rng, named(5))
    store.add(points)
    third, missing, first = store.dense_vectors(["p3", "missing", "p0"])
    assert third == pytest.approx(points.dense[3], abs=1e-6)
    assert missing is None
    assert first == pytest.approx(points.dense[0], abs=1e-6)
    assert store.dense_vectors([]) == []


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_channel_retrieves_its_best_passages(filled, rng, channel):
    store, oracle = filled
    for _ in range(5):
        query = plan(rng, (channel,), (channel,))
        (found,) = store.search([query])
        best = oracle.retrieved(channel, query)
        assert_scores(found, oracle, query)
        if channel != "colbert":
            assert set(found.ids) == set(best)
        else:  # 8 bits per dimension may swap passages at the border
            border = oracle.scores(channel, query)[best[-1]] - TOLERANCE[channel]
            assert len(found.ids) == query.candidates
            assert min(scores(found, channel).values()) >= border - TOLERANCE[channel]


def test_every_candidate_is_scored_by_every_channel(filled, rng):
    store, oracle = filled
    query = plan(rng, ("dense", "sparse", "bm25"), CHANNELS)
    (found,) = store.search([query])
    union = {i for c in query.retrieve for i in oracle.retrieved(c, query)}
    assert set(found.ids) == union
    assert len(found.ids) == len(union)
    assert_scores(found, oracle, query)


def test_a_channel_may_score_without_retrieving_and_the_reverse(filled, rng):
    store, oracle = filled
    query = plan(rng, ("sparse",), ("dense", "colbert"))
    (found,) = store.search([query])
    assert set(found.ids) == set(oracle.retrieved("sparse", query))
    assert set(found.scores) == {"dense", "colbert"}
    assert_scores(found, oracle, query)


@pytest.mark.parametrize("channel", ["sparse", "bm25"])
def test_without_a_shared_token_the_score_is_zero_and_nothing_is_retrieved(filled, rng, channel):
    store, _ = filled
    nothing = replace(plan(rng, (channel,), (channel,)), sparse={999: 1.0}, bm25={999: 1.0})
    assert list(store.search([nothing])[0].ids) == []
    (found,) = store.search([replace(nothing, retrieve=("dense",))])
    assert len(found.ids) == nothing.candidates
    assert set(found.scores[channel].tolist()) == {0.0}


def test_a_query_without_tokens(filled, rng):
    store, _ = filled
    query = replace(plan(rng, ("dense", "sparse", "bm25"), CHANNELS), sparse={}, bm25={})
    (found,) = store.search([query])
    assert len(found.ids) == query.candidates
    assert not found.scores["sparse"].any()
    assert not found.scores["bm25"].any()


def test_bm25_counts_what_exists_now(filled, rng):
    """The idf does not count replaced and deleted passages that a segment still holds."""
    store, oracle = filled
    replacement = make(rng, named(40))
    store.add(replacement)
    oracle.add(replacement)
    gone = [f"p{i}" for i in range(60, 110)]
    store.delete(gone)
    oracle.delete(gone)
    for _ in range(5):
        query = plan(rng, ("bm25",), ("bm25",), candidates=100)
        (found,) = store.search([query])
        assert set(found.ids) == set(oracle.retrieved("bm25", query))
        assert_scores(found, oracle, query)


def test_several_plans_at_once_are_answered_one_by_one(filled, rng):
    store, _ = filled
    queries = [
        plan(rng),
        plan(rng, ("dense",), ("dense",), 3),
        plan(rng, ("sparse",), ("bm25", "sparse")),
    ]
    together = store.search(queries)
    for query, expected in zip(queries, together, strict=True):
        (alone,) = store.search([query])
        assert list(alone.scores) == list(expected.scores)
        for channel in query.score:
            assert scores(alone, channel) == pytest.approx(scores(expected, channel))


def test_more_candidates_than_passages_gives_all(filled, rng):
    store, oracle = filled
    (found,) = store.search([plan(rng, ("dense",), ("dense",), candidates=1000)])
    assert set(found.ids) == set(oracle.points)


@pytest.mark.parametrize("channel", CHANNELS)
def test_only_passages_that_match_the_filter_are_retrieved(store, rng, channel):
    store.add(make(rng, [Passage(f"p{i}", "x", {"n": i}) for i in range(60)]))
    query = plan(rng, (channel,), (channel,), candidates=100)
    (everything,) = store.search([query])
    (found,) = store.search([replace(query, where=Range("n", lt=20))])
    expected = {i: s for i, s in scores(everything, channel).items() if int(i[1:]) < 20}
    assert scores(found, channel) == pytest.approx(expected)  # idf is of the whole store


def test_optimize_changes_no_result(filled, rng):
    store, oracle = filled
    store.delete(named(30))
    oracle.delete(named(30))
    store.optimize()
    query = plan(rng, ("dense", "sparse", "bm25"), CHANNELS)
    (found,) = store.search([query])
    assert set(found.ids) == {i for c in query.retrieve for i in oracle.retrieved(c, query)}
    assert_scores(found, oracle, query)


def test_half_precision_colbert_vectors_are_accepted(store, rng):
    points = make(rng, named(5), dtype=np.float16)
    store.add(points)
    query = replace(plan(rng, ("colbert",), ("colbert",)), colbert=points.colbert[2].astype("f4"))
    (found,) = store.search([query])
    assert scores(found, "colbert")["p2"] == pytest.approx(1.0, abs=5e-3)


def test_a_second_close_does_nothing(store):
    store.close()
    store.close()


@pytest.mark.parametrize("seed", range(3))
def test_any_history_gives_the_memory_stores_results(store, seed):
    rng = np.random.default_rng(seed)
    oracle = MemoryStore()
    for _ in range(25):
        ids = [f"p{i}" for i in rng.choice(60, rng.integers(1, 12), replace=False)]
        action = rng.choice(["add", "add", "add", "delete", "delete_where", "optimize"])
        if action == "add":
            points = make(rng, [Passage(i, "x", {"n": int(i[1:]) % 7}) for i in ids])
            store.add(points)
            oracle.add(points)
        elif action == "delete":
            assert store.delete(ids) == oracle.delete(ids)
        elif action == "delete_where":
            where = Equals("n", int(rng.integers(7)))
            assert store.delete_where(where) == oracle.delete_where(where)
        elif seed == 0:
            store.optimize()
        assert store.count() == oracle.count()
    filters: list[Filter | None] = [None, Range("n", gte=3)]
    for filter_ in filters:
        query = plan(rng, ("dense", "sparse", "bm25"), CHANNELS, 10, filter_)
        (found,), (expected,) = store.search([query]), oracle.search([query])
        assert set(found.ids) == set(expected.ids)
        for channel in CHANNELS:
            close = pytest.approx(scores(expected, channel), abs=TOLERANCE[channel])
            assert scores(found, channel) == close


values = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
values |= st.floats(allow_nan=False, allow_infinity=False)
metadata = st.dictionaries(st.text(max_size=10), values | st.lists(values, max_size=3), max_size=4)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(min_size=1, max_size=30), st.text(max_size=50), metadata)
def test_any_text_and_metadata_come_back(store, id_, text, meta):
    passage = Passage(id_, text, meta)
    store.add(make(np.random.default_rng(0), [passage]))
    assert store.get([id_]) == [passage]


def test_updated_passages_keep_their_vectors(filled, rng):
    store, oracle = filled
    new = [Passage(f"p{i}", "other", {"n": i}, "d") for i in range(100)]
    assert store.update([*new, Passage("missing", "x")]) == 100
    assert store.count() == 120
    assert store.get(["p7", "missing"]) == [new[7], None]
    assert store.count(Range("n", lt=10)) == 10
    query = plan(rng, ("dense", "sparse", "bm25"), CHANNELS)
    (found,) = store.search([query])
    assert set(found.ids) == {i for c in query.retrieve for i in oracle.retrieved(c, query)}
    assert_scores(found, oracle, query)
    (found,) = store.search([replace(query, where=Equals("n", 7))])
    assert list(found.ids) == ["p7"]


def test_renamed_passages_keep_their_vectors(filled, rng):
    store, _ = filled
    query = plan(rng, ("dense", "sparse", "bm25"), CHANNELS, candidates=200)
    (before,) = store.search([query])
    new = [Passage(f"n{i}", "other", {"n": i}, "d") for i in range(100)]
    assert store.update([*new, Passage("x", "x")], ids=[*named(100), "missing"]) == 100
    assert store.count() == 120
    assert store.get(["n7", "p7", "x"]) == [new[7], None, None]
    (after,) = store.search([query])
    names = {f"p{i}": f"n{i}" for i in range(100)}
    for channel in CHANNELS:
        expected = {names.get(i, i): score for i, score in scores(before, channel).items()}
        assert scores(after, channel) == pytest.approx(expected, abs=1e-6)
    # Two passages take each other's place, and a third one that of another.
    swapped = [Passage("n1", "was n0"), Passage("n0", "was n1"), Passage("n3", "was n2")]
    [zero, one, two] = store.dense_vectors(["n0", "n1", "n2"])
    assert store.update(swapped, ids=["n0", "n1", "n2"]) == 3
    assert store.count() == 119
    assert store.get(["n1", "n0", "n3", "n2"]) == [*swapped, None]
    assert np.array_equal(store.dense_vectors(["n1", "n0", "n3"]), [zero, one, two])
    (found,) = store.search([replace(query, where=Equals("document_id", "d"))])
    assert not {"n0", "n1", "n2", "n3"} & set(found.ids)
