"""Which hits a search returns: pages, hits per document, the lowest score, the constant of rrf."""

import pytest

from m3rag import M3Index, Passage
from m3rag.errors import InputError
from m3rag.index.presets import Preset
from tests.index.conftest import PASSAGES
from tests.index.test_index import QUERY, ids

TEXTS = ["Ferns like shade.", "Ferns need water.", "Ferns grow.", "Cacti like sun.", "Sharks swim."]


@pytest.fixture(scope="module", params=["memory", "folder"])
def index(request, tmp_path_factory, tiny):
    folder = None if request.param == "memory" else tmp_path_factory.mktemp("hits") / "kb"
    with M3Index.open(folder, model=tiny) as index:
        index.add(
            Passage(f"{name}{i}", f"{text} {name}", {"n": i}, f"{name}.md")
            for name in "ab"
            for i, text in enumerate(TEXTS)
        )
        index.add([Passage("alone", "Ferns like shade alone."), Passage("other", "Ferns, alone.")])
        yield index


def test_pages_have_every_hit_once(index):
    every = index.search(QUERY, 12)
    assert len(every) == 12
    paged = [hit for offset in range(0, 15, 5) for hit in index.search(QUERY, 5, offset=offset)]
    assert paged == every
    assert index.search(QUERY, 5, offset=12) == []


def test_hits_per_document(index):
    every = index.search(QUERY, 12)
    for most in (1, 2):
        expected, counts = [], dict[str, int]()
        for hit in every:
            name = hit.passage.document_id or hit.passage.id
            counts[name] = counts.get(name, 0) + 1
            if counts[name] <= most:
                expected.append(hit)
        assert index.search(QUERY, 12, max_per_document=most) == expected
        assert index.search(QUERY, 2, max_per_document=most) == expected[:2]
        assert index.search(QUERY, 2, offset=2, max_per_document=most) == expected[2:4]


def test_the_lowest_score(index):
    every = index.search(QUERY, 12)
    for least in (every[3].score, every[0].score + 0.01, -5):
        found = index.search(QUERY, 12, min_score=least)
        assert found == [hit for hit in every if hit.score >= least]


def test_all_of_them_together(index):
    hits = index.search(QUERY, 12, max_per_document=1)
    least = hits[2].score
    found = index.search(QUERY, 12, max_per_document=1, min_score=least, offset=1)
    assert found == hits[1:3]


def test_the_constant_of_rrf(index):
    def fused(**options):
        hits = index.search(QUERY, 12, fusion="rrf", weights=(1, 1, 0), **options)
        return {hit.passage.id: hit.score for hit in hits}

    assert fused() == fused(rrf_k=60)
    assert max(fused(rrf_k=0).values()) == pytest.approx(2)
    assert max(fused(rrf_k=9).values()) == pytest.approx(0.2)


def test_the_constant_of_a_preset_is_the_default(tiny):
    with M3Index.open(model=tiny) as index:
        index.add(PASSAGES)
        index.save_preset("own", Preset({"dense": 1.0}, fusion="rrf", k=9))
        assert index.search(QUERY, 1, weights="own")[0].score == pytest.approx(0.1)
        assert index.search(QUERY, 1, weights="own", rrf_k=19)[0].score == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offset": -1}, "`offset` must be an integer of at least 0"),
        ({"offset": True}, "`offset` must be"),
        ({"offset": 5, "candidates": 9}, "k=5 hits after an offset of 5. Use candidates=10"),
        ({"max_per_document": 0}, "`max_per_document` must be an integer of at least 1"),
        ({"max_per_document": 1.5}, "`max_per_document` must be"),
        ({"min_score": "high"}, "`min_score` must be a finite number"),
        ({"min_score": float("nan")}, "`min_score` must be"),
        ({"min_score": True}, "`min_score` must be"),
        ({"rrf_k": 10}, 'the fusion is "weighted"'),
        ({"rrf_k": -1, "fusion": "rrf"}, "`rrf_k` must be a number from 0"),
        ({"rrf_k": 10**400, "fusion": "rrf"}, "`rrf_k` must be"),
        ({"rrf_k": "60", "fusion": "rrf"}, "`rrf_k` must be"),
    ],
)
def test_what_is_refused(index, options, message):
    with pytest.raises(InputError, match=message):
        index.search(QUERY, 5, **options)


async def test_by_vector(index, tiny):
    vector = tiny.encode([QUERY]).dense[0]
    every = index.search_by_vector(vector, 12)
    assert ids(every) == ids(index.search(QUERY, 12, channels=["dense"]))
    assert ids(index.search_by_vector(vector, 4, offset=3)) == ids(every[3:7])
    least = every[2].score - 1e-6
    assert ids(index.search_by_vector(vector, 12, min_score=least)) == ids(every[:3])
    one = index.search_by_vector(vector, 4, max_per_document=1)
    assert len({hit.passage.document_id or hit.passage.id for hit in one}) == 4
    options = {"offset": 1, "max_per_document": 1, "filter": {"n": {"lt": 4}}}
    found = index.search_by_vector(vector, 4, **options)
    assert await index.asearch_by_vector(vector, 4, **options) == found
    assert len(found) == 1
    with pytest.raises(InputError, match="candidates=3 cannot give k=4"):
        index.search_by_vector(vector, 4, candidates=3)
