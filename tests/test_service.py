"""The operations of the command line and of servers, which return plain values."""

import json
from dataclasses import asdict

import pytest

from m3rag import M3Index, Passage, service
from m3rag.errors import InputError
from m3rag.index.presets import Preset
from m3rag.index.settings import SearchSettings
from tests.index.conftest import PASSAGES

QUERY = "Where do ferns grow?"


@pytest.fixture
def index(tiny, tmp_path):
    with M3Index.open(tmp_path / "kb", model=tiny) as index:
        index.add(PASSAGES)
        yield index


def test_ask_finds_the_best_sentence_and_its_place(index):
    found = service.ask(index, QUERY, 2)
    first = found.hits[0].passage
    assert [hit.passage.id for hit in found.hits] == [
        hit.passage.id for hit in index.search(QUERY, 2)
    ]
    assert found.sentence.text in first.text
    assert not found.refused
    values = json.loads(json.dumps(found.to_dict()))
    assert values["answer"]["passage_id"] == first.id
    assert first.text[values["answer"]["start"] : values["answer"]["end"]] == found.sentence.text
    assert "min_score" not in values
    marked = [first.text[start:end] for start, end in found.highlights[0]]
    assert marked == ["ns"]  # the token that "ferns" and "Ferns" share


def test_ask_refuses_below_the_score_needed(index):
    found = service.ask(index, QUERY, min_score=2.0)
    assert (found.refused, found.sentence, found.min_score) == (True, None, 2.0)
    assert found.to_dict()["answer"] is None
    assert found.to_dict()["refused"] is True


def test_ask_uses_the_calibrated_score(index):
    index.save_preset("strict", Preset({"dense": 1.0}, min_score=2.0))
    assert service.ask(index, QUERY, settings=SearchSettings(weights="strict")).refused
    balanced = SearchSettings(weights="strict", balance="lang")
    assert service.ask(index, QUERY, settings=balanced).min_score is None


def test_ask_without_hits(index):
    nothing = SearchSettings(filter={"lang": "xx"})
    found = service.ask(index, QUERY, settings=nothing)
    assert (found.hits, found.sentence, found.refused) == ([], None, False)


def test_neighbours_move_the_sentence(tiny):
    texts = ["First comes this line.", "Ferns like shade and moist soil.", "Last comes that line."]
    starts = [0, 23, 56]
    passages = [
        Passage(f"d#{i}", text, document_id="d", start=start, end=start + len(text))
        for i, (text, start) in enumerate(zip(texts, starts, strict=True))
    ]
    with M3Index.open(model=tiny) as index:
        index.add(passages)
        found = service.ask(index, "Who likes shade and moist soil?", 1, neighbours=1)
    [hit] = found.hits
    assert hit.passage.text.startswith("First")
    sentence = found.sentence
    assert hit.passage.text[sentence.start : sentence.end] == sentence.text
    assert found.to_dict()["answer"]["start"] == 23


def test_search_equals_that_of_the_index(index):
    settings = SearchSettings(channels=["dense"])
    found = service.search(index, QUERY, 3, settings=settings)
    assert found == [hit.to_dict() for hit in index.search(QUERY, 3, channels=["dense"])]


def test_rerank_sorts_texts_with_and_without_an_index(index, tiny):
    texts = [passage.text for passage in PASSAGES]
    ids = [passage.id for passage in PASSAGES]
    by_model = service.rerank(tiny, QUERY, texts)
    by_index = service.rerank(index, QUERY, texts, ids=ids)
    assert [text.position for text in by_model] == [text.position for text in by_index]
    scores = [text.score for text in by_model]
    assert [text.score for text in by_index] == pytest.approx(scores, abs=5e-3)
    assert scores == sorted(scores, reverse=True)
    first = by_model[0].to_dict()
    assert first["text"] == texts[first["position"]]
    assert {"score", "dense", "sparse", "colbert"} <= set(first)
    assert service.rerank(tiny, QUERY, []) == []
    with pytest.raises(InputError, match="query is empty"):
        service.rerank(tiny, " ", texts)


def test_embed_returns_the_views_of_the_model(tiny):
    enc = tiny.encode(["Ferns like shade."])
    [values] = service.embed(tiny, ["Ferns like shade."], colbert=True)
    assert values["dense"] == enc.dense[0].tolist()
    assert {int(token): weight for token, weight in values["sparse"].items()} == enc.sparse[0]
    assert list(values["sparse"].values()) == sorted(values["sparse"].values(), reverse=True)
    assert values["colbert"] == enc.colbert[0].tolist()
    assert values["tokens"] == enc.n_tokens[0]
    assert "colbert" not in next(service.embed(tiny, ["x"]))


def test_info_and_delete_need_no_model(index):
    found = service.info(index.stored)
    assert found.passages == len(PASSAGES)
    assert found.documents == {"(no document)": 2, "plantas.md": 1, "plants.md": 2}
    assert found.bytes > 0
    assert json.loads(json.dumps(found.to_dict()))["model"] == "tiny"
    with pytest.raises(InputError, match="Say what to delete"):
        service.delete(index.stored)
    result = service.delete(index.stored, documents=["plants.md"], filter={"year": 2021})
    assert asdict(result) == {"deleted": 1, "left": 4}
    assert service.delete(index.stored, documents=["plants.md", "none.md"]).deleted == 1


def test_info_of_an_index_in_memory(tiny):
    with M3Index.open(model=tiny) as index:
        found = service.info(index.stored)
    assert (found.place, found.bytes, found.passages) == ("memory", None, 0)


def test_one_string_is_not_a_list(index, tiny):
    for call in (
        lambda: service.delete(index.stored, documents="plants.md"),
        lambda: service.rerank(tiny, QUERY, "text"),
        lambda: service.rerank(index, QUERY, "text"),
        lambda: service.embed(tiny, "text"),
    ):
        with pytest.raises(InputError, match="must be a list"):
            call()
    assert service.info(index.stored).passages == len(PASSAGES)


def test_a_model_takes_no_ids(tiny):
    with pytest.raises(InputError, match="`ids` need an index"):
        service.rerank(tiny, QUERY, ["text"], ids=["a"])


def test_a_calibrated_score_is_for_the_channels_it_was_calibrated_with(index):
    index.save_preset("strict", Preset({"dense": 1.0, "sparse": 1.0}, min_score=2.0))

    def needed(**options):
        settings = SearchSettings(weights="strict", **options)
        return service.ask(index, QUERY, settings=settings).min_score

    assert needed() == needed(channels=["dense", "sparse", "colbert"]) == 2.0
    assert needed(channels=["sparse"]) is None
    assert needed(channels=["bm25", "dense"]) is None


def test_what_is_found_can_be_written(index):
    found = service.ask(index, QUERY)
    assert found.answerable
    written = found.write(lambda instructions, request: "Ferns like shade [1].")
    assert written.to_dict()["citations"][0]["passage_id"] == found.hits[0].passage.id
    assert not service.ask(index, QUERY, min_score=2.0).answerable


def test_ask_with_a_cross_encoder(index, cross_encoder):
    found = service.ask(index, QUERY, 2, cross_encoder=cross_encoder, rerank_candidates=4)
    candidates = index.search(QUERY, 4)
    assert found.hits == cross_encoder.rerank(QUERY, candidates, 2)
    assert found.sentence.text in found.hits[0].passage.text
    assert found.to_dict()["hits"][0]["cross_encoder"] == found.hits[0].score
    second = SearchSettings(offset=1)
    page = service.ask(
        index, QUERY, 1, cross_encoder=cross_encoder, rerank_candidates=4, settings=second
    )
    assert page.hits == found.hits[1:]
    best = found.hits[0].score
    assert service.ask(index, QUERY, cross_encoder=cross_encoder, min_score=best + 0.1).refused
    for wrong in ({"rerank_candidates": 0}, {"k": 0}, {"k": "3"}):
        [name] = wrong
        with pytest.raises(InputError, match=f"`{name}` must be an integer of at least 1"):
            service.ask(index, QUERY, cross_encoder=cross_encoder, settings=second, **wrong)
    negative = SearchSettings(offset=-1)
    with pytest.raises(InputError, match="`offset` must be an integer of at least 0"):
        service.ask(index, QUERY, cross_encoder=cross_encoder, settings=negative)


def test_a_threshold_for_other_scores_is_no_limit_for_a_cross_encoder(index, cross_encoder):
    index.save_preset("strict", Preset({"dense": 1.0}, min_score=2.0))
    strict = SearchSettings(weights="strict")
    assert not service.ask(index, QUERY, cross_encoder=cross_encoder, settings=strict).refused


def test_an_explanation_is_that_of_the_search(index, cross_encoder):
    hits = index.search(QUERY, 2)
    (best, *_) = cross_encoder.rerank(QUERY, hits)
    searched = next(hit for hit in hits if hit.passage.id == best.passage.id)
    assert best.explain().score == searched.score != best.score


def test_rerank_with_a_cross_encoder(cross_encoder):
    texts = ["Cacti like sun.", "Ferns like shade."]
    ranked = service.rerank(cross_encoder, QUERY, texts)
    assert [one.score for one in ranked] == pytest.approx(
        sorted(cross_encoder.score(QUERY, texts, normalize=True), reverse=True)
    )
    assert ranked[0].to_dict()["cross_encoder"] == ranked[0].score
    with pytest.raises(InputError, match="A cross-encoder gives one score"):
        service.rerank(cross_encoder, QUERY, texts, weights=(1, 0, 0))
