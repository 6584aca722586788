"""Explanations: the numbers agree with the hit, and hits stay plain values."""

import copy
import dataclasses
import json

import pytest

from m3rag import Hit, M3Index, M3Model, explain
from m3rag.errors import InputError
from m3rag.scoring import SCORED
from tests.index.conftest import PASSAGES

QUERY = "Where does a fern like moist soil?"
SETTINGS = [
    {},
    {"weights": "cross-lingual"},
    {"weights": (1, 0.3, 1, 0.1)},
    {"weights": {"sparse": 2, "bm25": 1}},
    {"channels": SCORED},
    {"fusion": "rrf"},
    {"fusion": "rrf", "weights": (1, 0.5, 2, 1)},
]


@pytest.mark.parametrize("how", SETTINGS, ids=str)
def test_shares_add_up_to_the_score(indexed, how):
    index, _ = indexed
    for hit in index.search(QUERY, **how):
        why = hit.explain()
        assert why.score == hit.score
        assert sum(c.share for c in why.channels) == pytest.approx(hit.score, abs=1e-5)
        reported = [name for name in SCORED if getattr(hit, name) is not None]
        assert [c.name for c in why.channels] == reported
        assert [c.score for c in why.channels] == [getattr(hit, name) for name in reported]


def test_products_make_up_sparse_and_similarities_colbert(indexed):
    index, exact = indexed
    for hit in index.search(QUERY):
        why = hit.explain()
        assert sum(m.product for m in why.matched) == pytest.approx(hit.sparse, abs=1e-5)
        mean = sum(a.similarity for a in why.alignments) / len(why.alignments)
        assert mean == pytest.approx(hit.colbert, abs=exact)
        assert [m.id for m in why.matched] == [token for token, _, _ in hit.matched]
        for token, (_, in_query, in_passage) in zip(why.matched, hit.matched, strict=True):
            assert token.query_weight == pytest.approx(in_query, abs=1e-5)
            assert token.passage_weight == pytest.approx(in_passage, abs=1e-5)
            assert token.product == token.query_weight * token.passage_weight


def test_shares_of_a_known_hit(indexed):
    [hit] = indexed[0].search(
        QUERY, k=1, weights=(2, 0, 1), channels=["dense", "sparse", "colbert"]
    )
    dense, sparse, colbert = hit.explain().channels
    assert dense.share == pytest.approx(2 * hit.dense / 3)
    assert (sparse.weight, sparse.share) == (0.0, 0.0)
    assert colbert.share == pytest.approx(hit.colbert / 3)


def test_ranks_are_per_channel(indexed):
    hits = indexed[0].search(QUERY, fusion="rrf", weights=(1, 0.5, 2, 1))
    assert any(hit.sparse == 0 for hit in hits), "one passage shares no token"
    for hit in hits:
        why = hit.explain()
        for channel in why.channels:
            if channel.name in ("sparse", "bm25") and channel.score == 0:
                assert (channel.rank, channel.share) == (None, 0.0)
                continue
            better = sum(getattr(other, channel.name) > channel.score for other in hits)
            assert channel.rank == better + 1
            expected = channel.weight / (60 + channel.rank)
            assert channel.share == pytest.approx(expected, rel=1e-6)


def test_weighted_has_no_ranks(indexed):
    assert {c.rank for c in indexed[0].search(QUERY, k=1)[0].explain().channels} == {None}


def test_two_texts_are_explained_like_a_hit(tiny):
    with M3Index.open(model=tiny) as index:
        index.add(PASSAGES)
        for hit in index.search(QUERY, weights="long-document"):
            why = explain(tiny, QUERY, hit.passage, weights="long-document")
            found = hit.explain()
            assert why.score == pytest.approx(found.score, abs=1e-6)
            for one, other in zip(why.channels, found.channels, strict=True):
                assert one.share == pytest.approx(other.share, abs=1e-6)
            assert why.matched == found.matched
            assert why.alignments == found.alignments
            assert why.sentence == found.sentence


async def test_hits_of_every_kind_of_index_can_be_explained(tiny):
    for colbert in ("stored", "on-demand", "off"):
        with M3Index.open(model=tiny, colbert=colbert) as index:
            index.add(PASSAGES)
            [hit] = await index.asearch(QUERY, k=1)
            why = hit.explain()
            assert [c.name for c in why.channels][2:] == ["colbert"][: colbert != "off"]
            assert why.alignments, "computed even if the channel has no weight"
            assert why.sentence.text == hit.passage.text


def test_each_query_of_many_has_its_own_explanation(tiny):
    with M3Index.open(model=tiny) as index:
        index.add(PASSAGES)
        queries = [QUERY, "植物需要什么?"]
        for query, hits in zip(queries, index.search_many(queries), strict=True):
            assert {hit.explain().query for hit in hits} == {query}


def test_hits_of_equal_searches_are_equal(indexed):
    index, _ = indexed
    assert index.search(QUERY) == index.search(QUERY)
    [hit] = index.search(QUERY, k=1)
    assert "_explain" not in repr(hit)
    assert set(hit.to_dict()) == {"score", "passage", "matched", *SCORED}


@pytest.mark.parametrize(
    "detach", [copy.deepcopy, lambda hit: Hit(hit.score, hit.passage, dense=hit.dense)]
)
def test_the_error_of_a_detached_hit_names_explain(indexed, tiny, detach):
    [hit] = indexed[0].search(QUERY, k=1, channels=["dense"])
    detached = detach(hit)
    assert detached == hit
    with pytest.raises(InputError, match=r"m3rag\.explain\(model, query, hit\.passage\)"):
        detached.explain()
    assert explain(tiny, QUERY, detached.passage).matched
    json.dumps(dataclasses.asdict(hit))


def test_a_hit_found_by_a_vector_has_no_query(indexed, tiny):
    [hit] = indexed[0].search_by_vector(tiny.encode([QUERY]).dense[0], k=1)
    with pytest.raises(InputError, match="explain"):
        hit.explain()


def test_a_hit_outlives_its_index_but_not_its_model():
    with M3Model.load("tiny", dtype="float32") as model:
        with M3Index.open(model=model) as index:
            index.add(PASSAGES)
            [hit] = index.search(QUERY, k=1)
        assert hit.explain().passage == hit.passage
    with pytest.raises(InputError, match="closed"):
        hit.explain()


@pytest.mark.parametrize(
    ("query", "passage", "how", "message"),
    [
        ("", "soil", {}, "query is empty"),
        ("soil", "soil", {"weights": (1, 1, 1, 1)}, "bm25|dense, sparse and colbert"),
        ("soil", "soil", {"weights": "best"}, "cross-lingual"),
        ("soil", 7, {}, "Passage or a string"),
    ],
)
def test_invalid_arguments(tiny, query, passage, how, message):
    with pytest.raises(InputError, match=message):
        explain(tiny, query, passage, **how)
