"""Queries of several texts: every channel hears all of them."""

import numpy as np
import pytest

from m3rag import M3Index, Query
from m3rag.errors import InputError
from m3rag.scoring.scores import colbert_scores
from tests.index.conftest import PASSAGES
from tests.index.test_index import QUERY, ids

OTHER = "Los cactus necesitan sol."
BOTH = Query([QUERY, OTHER])
ALL = (1, 1, 1, 1)


def by_id(hits):
    return {hit.passage.id: hit for hit in hits}


def test_each_channel_pools_the_texts(index, tiny):
    hits = by_id(index.search(BOTH, 5, weights=ALL))
    assert len(hits) == 5
    enc = tiny.encode([QUERY, OTHER])
    mean = enc.dense.mean(axis=0)
    mean /= np.linalg.norm(mean)
    highest: dict[int, float] = {}
    for weights in enc.sparse:
        for token, weight in weights.items():
            highest[token] = max(weight, highest.get(token, 0.0))
    joined = np.concatenate([enc.colbert[0], enc.colbert[1]])
    for passage in PASSAGES:
        hit, own = hits[passage.id], tiny.encode([passage.text])
        assert hit.dense == pytest.approx(float(mean @ own.dense[0]), abs=1e-5)
        product = sum(highest.get(token, 0.0) * weight for token, weight in own.sparse[0].items())
        assert hit.sparse == pytest.approx(product, abs=1e-5)
        expected = float(colbert_scores(joined, own.colbert)[0])
        assert hit.colbert == pytest.approx(expected, abs=5e-3)


def test_bm25_takes_the_highest_frequency(index):
    found = by_id(index.search(Query(["fern fern", "fern sun"]), weights=(0, 0, 0, 1)))
    fern = by_id(index.search("fern fern", weights=(0, 0, 0, 1)))
    sun = by_id(index.search("sun", weights=(0, 0, 0, 1)))
    assert found.keys() == fern.keys() | sun.keys()
    for name, hit in found.items():
        parts = [hits[name].bm25 for hits in (fern, sun) if name in hits]
        assert hit.bm25 == pytest.approx(sum(parts), rel=1e-5)


def test_one_text_is_the_text_itself(index):
    assert index.search(Query([QUERY]), 3) == index.search(QUERY, 3)
    assert index.search(Query([QUERY]), 1)[0].explain().query == QUERY


def test_a_vector_replaces_those_of_the_texts(index, tiny):
    vector = tiny.encode([OTHER]).dense[0]
    hits = by_id(index.search(Query([QUERY], dense=3 * vector), 5, weights=ALL))
    plain, other = (by_id(index.search(text, 5, weights=ALL)) for text in (QUERY, OTHER))
    for name, hit in hits.items():
        assert hit.dense == pytest.approx(other[name].dense, abs=1e-5)
        assert hit.sparse == pytest.approx(plain[name].sparse, abs=1e-5)
        assert hit.bm25 == pytest.approx(plain[name].bm25, abs=1e-5)
    listed = index.search(Query([QUERY], dense=vector.tolist()), 5, weights=ALL)
    assert [hit.score for hit in listed] == pytest.approx([h.score for h in hits.values()])


async def test_many_queries_of_every_kind(index, tiny):
    queries = [QUERY, BOTH, Query([OTHER], dense=tiny.encode([QUERY]).dense[0]), OTHER]
    together = index.search_many(queries, 3, weights=ALL)
    assert await index.asearch_many(queries, 3, weights=ALL) == together
    for query, hits in zip(queries, together, strict=True):
        alone = index.search(query, 3, weights=ALL)
        assert ids(hits) == ids(alone)
        assert [h.score for h in hits] == pytest.approx([h.score for h in alone], abs=1e-5)


def test_on_demand(tiny):
    with M3Index.open(model=tiny) as stored, M3Index.open(model=tiny, colbert="on-demand") as index:
        stored.add(PASSAGES)
        index.add(PASSAGES)
        found, expected = (by_id(i.search(BOTH, 5)) for i in (index, stored))
        for name, hit in found.items():
            assert hit.colbert == pytest.approx(expected[name].colbert, abs=1e-5)


def test_hits_of_several_texts_have_no_explanation_but_their_matches(index):
    hit = index.search(BOTH, 1)[0]
    assert hit.matched
    with pytest.raises(InputError, match="by a vector or by several texts"):
        hit.explain()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Query([]), "one or more texts"),
        (lambda: Query("text"), "one or more texts"),
        (lambda: Query([" "]), "empty"),
        (lambda: Query([QUERY, None]), "must be a string"),  # type: ignore[list-item]
        (lambda: Query([QUERY], dense=[1.0]), "256 finite numbers"),
        (lambda: Query([QUERY], dense=[float("nan")] * 256), "256 finite numbers"),
    ],
)
def test_what_is_refused(index, make, message):
    with pytest.raises(InputError, match=message):
        index.search(make())


def test_a_vector_that_no_channel_hears_is_refused(index):
    query = Query([QUERY], dense=[0.0] * 256)
    with pytest.raises(InputError, match="does not score dense"):
        index.search(query, channels=["sparse"])
    with pytest.raises(InputError, match="single query"):
        index.search_many(query)


def test_a_zero_vector_gives_zeros(index):
    hits = index.search(Query([QUERY], dense=[0.0] * 256), 5)
    assert [hit.dense for hit in hits] == [0.0] * 5
