"""Named weights saved with an index."""

import json
import shutil

import pytest

from m3rag import M3Index, M3Model, explain
from m3rag.errors import FormatError, InputError
from m3rag.index.presets import NAME, Preset, write_presets
from m3rag.model.lookup import BUNDLED
from m3rag.scoring import PRESETS, score_texts
from tests.index.conftest import PASSAGES

QUERY = "Where does a fern like moist soil?"
LEARNED = Preset({"dense": 0.2, "sparse": 1.0, "bm25": 0.03}, learned_from="40 questions of x")
RANKED = Preset({"dense": 1.0, "colbert": 1.0}, "rrf", 10.0)


def facts(hits):
    return [(hit.passage.id, hit.score, hit.dense, hit.sparse, hit.colbert) for hit in hits]


def test_a_name_selects_its_weights(own):
    own.save_preset("tuned", LEARNED)
    assert own.presets == {"tuned": LEARNED}
    named = own.search(QUERY, weights="tuned")
    assert facts(named) == facts(own.search(QUERY, weights=LEARNED.weights))
    assert named[0].bm25 is not None
    assert facts(named) != facts(own.search(QUERY))


def test_a_preset_sets_the_fusion_of_searches_and_explanations(own):
    own.save_preset("ranked", RANKED)
    hits = own.search(QUERY, weights="ranked")
    for hit in hits:
        parts = hit.explain().channels
        assert [part.name for part in parts] == ["dense", "colbert"]
        assert sum(part.share for part in parts) == pytest.approx(hit.score, abs=1e-6)
        assert hit.score == pytest.approx(sum(1 / (10 + part.rank) for part in parts), abs=1e-6)


def test_presets_persist_and_can_be_replaced(tiny, tmp_path):
    with M3Index.open(tmp_path / "kb", model=tiny) as index:
        index.add(PASSAGES)
        index.save_preset("tuned", RANKED)
        index.save_preset("tuned", LEARNED)
        index.save_preset("other", RANKED)
    with M3Index.open(tmp_path / "kb", model=tiny) as index:
        assert index.presets == {"tuned": LEARNED, "other": RANKED}
        assert index.search(QUERY, k=1, weights="other", fusion="weighted")
    assert sorted(path.name for path in (tmp_path / "kb").glob("presets*")) == [NAME]


async def test_all_search_methods_accept_a_preset(own):
    own.save_preset("tuned", LEARNED)
    expected = facts(own.search(QUERY, weights="tuned"))
    assert facts(await own.asearch(QUERY, weights="tuned")) == expected
    assert facts(own.search_many([QUERY], weights="tuned")[0]) == expected


def test_an_unknown_name_lists_the_presets(own):
    own.save_preset("tuned", LEARNED)
    names = ", ".join(f'"{name}"' for name in (*PRESETS, "same-language", "tuned"))
    with pytest.raises(InputError, match=rf"Unknown weights 'tined'\. The presets are {names}"):
        own.search(QUERY, weights="tined")


@pytest.mark.parametrize("name", ["", " ", "default", "rrf", "1/2/3"])
def test_reserved_and_invalid_names(own, name):
    with pytest.raises(InputError, match="A preset cannot be named"):
        own.save_preset(name, LEARNED)
    assert not own.presets


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"tuned": {}}', json.dumps({"tuned": {"weights": [1], "fusion": "", "k": 1}})],
)
def test_a_damaged_file_is_an_error(tiny, tmp_path, content):
    M3Index.open(tmp_path / "kb", model=tiny).close()
    (tmp_path / "kb" / NAME).write_text(content)
    with pytest.raises(FormatError, match=r"presets\.json is damaged"):
        M3Index.open(tmp_path / "kb", model=tiny)
    (tmp_path / "kb" / NAME).unlink()
    M3Index.open(tmp_path / "kb", model=tiny).close()


def test_after_a_damaged_file_the_folder_can_be_opened_again(tiny, tmp_path):
    M3Index.open(tmp_path / "kb", model=tiny).close()
    (tmp_path / "kb" / NAME).write_text("[]")
    with pytest.raises(FormatError) as caught:
        M3Index.open(tmp_path / "kb", model=tiny)
    (tmp_path / "kb" / NAME).unlink()  # as the message says
    M3Index.open(tmp_path / "kb", model=tiny).close()
    assert caught.value.__traceback__ is not None  # nothing of the first attempt was collected


def test_a_preset_of_another_client_is_kept(tiny, tmp_path):
    with M3Index.open(tmp_path / "kb", model=tiny) as index:
        index.save_preset("mine", Preset({"dense": 1.0}))
        both = {"mine": index.presets["mine"], "theirs": index.presets["mine"]}
        write_presets(index.stored.location, both)
        index.save_preset("mine", Preset({"sparse": 1.0}))
        assert set(index.presets) == {"mine", "theirs"}


def test_invalid_presets():
    for given in ({}, {"dense": 0}, {"dense": -1}, {"dens": 1}, (1, 2)):
        with pytest.raises(InputError):
            Preset(given)
    with pytest.raises(InputError, match=r"a fusion \(weighted or rrf\)"):
        Preset((1, 0, 0), "sum")
    with pytest.raises(InputError, match="a k above 0"):
        Preset((1, 0, 0), "rrf", 0.0)
    assert Preset((1, 0, 0.5)).weights == {"dense": 1, "sparse": 0, "colbert": 0.5, "bm25": 0}


@pytest.fixture(scope="module")
def model_with_presets(tmp_path_factory):
    """A model with two presets: "default" is ColBERT alone, "words" is sparse alone."""
    folder = shutil.copytree(BUNDLED["tiny"], tmp_path_factory.mktemp("model") / "m3")
    own = {"default": {"colbert": 1.0}, "words": {"sparse": 1.0}}
    (folder / "presets.json").write_text(json.dumps(own))
    with M3Model.load(folder) as model:
        yield model


def test_a_model_has_its_own_presets(model_with_presets):
    with M3Index.open(None, model=model_with_presets) as index:
        index.add(PASSAGES)
        assert facts(index.search(QUERY)) == facts(index.search(QUERY, weights={"colbert": 1.0}))
        words = index.search(QUERY, weights="words")
        assert facts(words) == facts(index.search(QUERY, weights={"sparse": 1.0}))
        with pytest.raises(InputError, match='"words"'):
            index.search(QUERY, weights="no such name")
        assert dict(index.presets) == {}


def test_presets_of_an_index_override_those_of_its_model(model_with_presets):
    with M3Index.open(None, model=model_with_presets) as index:
        index.add(PASSAGES)
        index.save_preset("words", LEARNED)
        named = index.search(QUERY, weights="words")
        assert facts(named) == facts(index.search(QUERY, weights=LEARNED.weights))


def test_score_texts_uses_the_presets_of_the_model(model_with_presets):
    texts = [passage.text for passage in PASSAGES]
    scores, columns = score_texts(model_with_presets, QUERY, texts)
    assert list(columns) == ["colbert"]
    assert scores.tolist() == columns["colbert"].tolist()
    why = explain(model_with_presets, QUERY, texts[0])
    assert [channel.name for channel in why.channels] == ["colbert"]
