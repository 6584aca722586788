"""The order of examples, and which passages are negatives of which queries."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3rag.training import TrainingSettings
from m3rag.training.batches import Batches, contrast
from m3rag.training.example import Example, Group
from m3rag.training.examples import Examples
from tests.training.conftest import write

LANGUAGES = [
    frozenset({("en", "es"), ("es", "en"), ("en", "de"), ("de", "en")}),
    frozenset({("en", "es"), ("es", "en")}),
    frozenset({("fr", "en")}),
]


def batches(sizes, sources=None, **settings):
    examples = SimpleNamespace(
        sizes=np.array(sizes),
        sources=np.array(sources or [0] * len(sizes)),
        languages=np.arange(len(sizes)) % len(LANGUAGES),
        language_pairs=LANGUAGES,
    )
    return Batches(examples, TrainingSettings(**settings))


@given(
    sources=st.lists(st.integers(0, 2), min_size=1, max_size=200).map(
        lambda s: [sorted(set(s)).index(x) for x in s]
    ),
    batch=st.integers(1, 9),
    same_source=st.sampled_from([False, True, 0.5]),
    same_language=st.sampled_from([0, 0.5, 1]),
    epoch=st.integers(0, 3),
)
def test_each_example_is_used_once(sources, batch, same_source, same_language, epoch):
    sizes = list(range(len(sources)))
    found = batches(
        sizes, sources, batch=batch, same_source=same_source, same_language=same_language
    )
    order = [each.numbers for each in found.order(epoch)]
    assert sorted(np.concatenate(order)) == sizes
    lengths = [len(part) for part in order]
    assert max(lengths) <= batch
    if same_source is True:
        assert all(len({sources[i] for i in part}) == 1 for part in order)
    elif not same_source and not same_language:
        assert max(lengths) - min(lengths) <= 1 + batch // 2
    if same_source in (False, True) and not same_language:
        assert len(order) == found.per_epoch


def test_a_share_of_the_batches_has_one_source():
    sources = np.random.default_rng(0).integers(0, 4, 4000).tolist()
    order = batches(range(4000), sources, batch=20, same_source=0.5).order(0)
    alike = [len({sources[i] for i in batch.numbers}) == 1 for batch in order]
    assert len(order) == 200
    assert 95 <= sum(alike) <= 105


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_share_of_the_batches_has_one_pair_of_languages(share):
    found = batches(range(4000), batch=20, same_language=share)
    pairs = [LANGUAGES[i % len(LANGUAGES)] for i in range(4000)]
    order = found.order(0)
    alike = [batch for batch in order if batch.languages]
    assert share - 0.05 <= len(alike) / len(order) <= share + 0.02
    assert len({batch.languages for batch in alike}) == 5
    for batch in alike:
        assert all(batch.languages in pairs[i] for i in batch.numbers)
    spread = np.mean([np.ptp(batch.numbers) for batch in alike])  # the sizes, too
    assert spread < 1000
    # Examples that no others suit are in other batches.
    few = batches(range(100), batch=50, same_language=1.0).order(0)
    assert any(batch.languages is None for batch in few)


def test_drawn_texts_have_the_languages_of_the_batch(tmp_path):
    rows = [
        {"t": {code: f"{code} {i}" for code in ("en", "es", "de", "fr")[i % 2 :]}}
        for i in range(60)
    ]
    examples = Examples([write(tmp_path / "words.jsonl", rows)])
    found = Batches(examples, TrainingSettings(batch=6, same_language=1.0))
    seen = set()
    for number in range(found.per_epoch):
        groups = found.draw(number)
        pair = {(group.query[:2], group.passages[0][:2]) for group in groups}
        assert len(pair) == 1
        seen |= pair
    assert len(seen) > 3


def test_order_depends_on_seed_and_epoch():
    def order(seed, epoch):
        found = batches(range(500), batch=16, seed=seed)
        found.order(9)  # an earlier call changes nothing
        return [batch.numbers.tolist() for batch in found.order(epoch)]

    assert order(1, 2) == order(1, 2)
    assert order(1, 2) != order(1, 3)
    assert order(1, 2) != order(2, 2)


def test_examples_of_a_batch_have_similar_lengths():
    sizes = np.random.default_rng(0).integers(5, 5000, 2000)
    spread = [np.ptp(sizes[batch.numbers]) for batch in batches(sizes, batch=20).order(0)]
    assert np.mean(spread) < 300  # of 4995; random batches have 4500


def test_source_power_balances_sources():
    sources = [0] * 900 + [1] * 100

    def counts(power):
        order = batches(range(1000), sources, source_power=power).order(0)
        taken = np.concatenate([batch.numbers for batch in order])
        return np.bincount(np.array(sources)[taken]).tolist(), taken

    assert counts(1.0)[0] == [900, 100]
    even, taken = counts(0.0)
    assert even == [500, 500]
    assert set(np.bincount(taken)[900:]) == {
        5
    }  # no sixth time before all have been used five times
    assert counts(0.5)[0] == [750, 250]


class Counted:
    """Examples whose texts show which of them was drawn."""

    sizes = np.arange(10)
    sources = np.zeros(10, np.int64)

    def __getitem__(self, i):
        texts = (f"{i} a", f"{i} b", f"{i} c")
        return Example(texts, texts, translated=True)


def test_texts_differ_between_epochs_and_repeat_for_the_same_batch():
    found = Batches(Counted(), TrainingSettings(batch=10))
    first, second, again = found.draw(0), found.draw(1), found.draw(0)
    assert first == again
    assert {g.query[0] for g in first} == {g.query[0] for g in second}
    assert {g.query for g in first} != {g.query for g in second}


letters = st.sampled_from("abcdef")
groups = st.lists(
    st.builds(
        lambda query, passages, more, key: Group(
            query, tuple(passages), frozenset({passages[0], *more}), key
        ),
        letters,
        st.lists(letters, min_size=1, max_size=3),
        st.sets(letters, max_size=2),
        st.none() | letters,
    ),
    min_size=1,
    max_size=5,
)


@given(groups, st.booleans())
def test_contrast_follows_the_rules(groups, in_batch):
    found = contrast(groups, in_batch=in_batch)
    columns = [(g, text) for g, group in enumerate(groups) for text in group.passages]
    for row, group in enumerate(groups):
        positive = columns.index((row, group.passages[0]))
        assert found.target[row] == positive
        for column, (owner, text) in enumerate(columns):
            other = groups[owner]
            other_group = owner != row
            same_key = group.key is not None and other.key == group.key
            related = other.query == group.query or same_key
            excluded = (
                (other_group and (related or not in_batch)) or text in group.answers
            ) and column != positive
            assert found.excluded[row, column] == excluded


@pytest.mark.parametrize("in_batch", [True, False])
def test_own_negatives_are_kept(in_batch):
    found = contrast(
        [
            Group("q", ("yes", "no"), frozenset({"yes"}), "k"),
            Group("r", ("no",), frozenset({"no"})),
        ],
        in_batch=in_batch,
    )
    assert found.excluded.tolist() == [[False, False, not in_batch], [not in_batch, True, False]]
