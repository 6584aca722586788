"""Tasks: their settings, TOML files of them, and how a run mixes them."""

from dataclasses import fields

import numpy as np
import pytest

from m3rag.errors import InputError
from m3rag.training import Task, TrainingSettings, read_mix
from m3rag.training.mix import Mix
from tests.training.conftest import write

MIX = """
[[task]]
data = "words.jsonl.zst"
share = 2
batch = 1024
symmetric = true
same_source = 0.5

[[task]]
name = "pages"
data = ["more/a.jsonl", "b.jsonl"]
sparse_weight = 0.5
"""


def test_a_mix_is_read(tmp_path):
    (tmp_path / "mix.toml").write_text(MIX)
    words, pages = read_mix(tmp_path / "mix.toml")
    assert (words.name, words.share) == ("words", 2)
    assert words.files == (tmp_path / "words.jsonl.zst",)
    assert pages.files == (tmp_path / "more" / "a.jsonl", tmp_path / "b.jsonl")
    assert pages.to_dict() == {"name": "pages", "share": 1.0, "sparse_weight": 0.5}
    run = TrainingSettings(batch=8, temperature=0.1)
    own = words.settings(run)
    assert (own.batch, own.symmetric, own.same_source) == (1024, True, 0.5)
    assert (own.temperature, own.sparse_weight) == (0.1, 0.1)
    assert pages.settings(run).batch == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task = [", "is not TOML"),
        ("", r"has no \[\[task\]\]"),
        ("task = 3", r"has no \[\[task\]\]"),
        ("lr = 1\n[[task]]\ndata = 'a'", r"has 'lr'; it may only have \[\[task\]\]"),
        ("[[task]]", r"\[\[task\]\] 1: `data` must be a file or a list of files, got None"),
        ("[[task]]\ndata = 'a'\n[[task]]\ndata = [1]", r"\[\[task\]\] 2: `data` must be .*\[1\]"),
        ("[[task]]\ndata = []", "has no files in `data`"),
        ("[[task]]\ndata = 'a'\nbatches = 3", "'batches' is unknown. A task may have data, name"),
        ("[[task]]\ndata = 'a'\nbatch = '3'", "`batch` must be int, got '3'"),
        ("[[task]]\ndata = 'a'\nbatch = true", "`batch` must be int, got True"),
        ("[[task]]\ndata = 'a'\nbatch = 0", "The task 'a': `batch` must be at least 1, got 0"),
        ("[[task]]\ndata = 'a'\nsame_source = 2.0", "a share of the batches, 0 to 1, got 2.0"),
        ("[[task]]\ndata = 'a'\nshare = 0", "The `share` of 'a' must be above 0, got 0"),
        ("[[task]]\ndata = 'a'\nshare = nan", "The `share` of 'a' must be above 0, got nan"),
        ("[[task]]\ndata = 'a'\n[[task]]\ndata = 'a'", "Two tasks have the name 'a'"),
        ("[[task]]\ndata = 'a'\n#" + "x" * (1 << 20), "is larger than 1,048,576 bytes"),
    ],
)
def test_a_wrong_mix(text, message, tmp_path):
    (tmp_path / "mix.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_mix(tmp_path / "mix.toml")


def test_no_mix(tmp_path):
    with pytest.raises(InputError, match=r"other\.toml cannot be read"):
        read_mix(tmp_path / "other.toml")


def test_a_task_changes_only_settings_of_the_run():
    names = {field.name for field in fields(TrainingSettings)}
    assert {field.name for field in fields(Task)} - names == {"data", "name", "share"}


@pytest.fixture
def tasks(tmp_path):
    """Three tasks of 100, 100 and 10 examples, whose queries begin with their number."""
    return [
        Task(
            write(
                tmp_path / f"{name}.jsonl",
                [{"query": f"{name} {i}", "pos": ["a"]} for i in range(count)],
            ),
            share=share,
            batch=batch,
        )
        for name, count, share, batch in ((0, 100, 0.5, 10), (1, 100, 0.3, 5), (2, 10, 0.2, 1))
    ]


def test_tasks_have_their_shares_and_use_all_examples(tasks):
    mix = Mix(tasks, TrainingSettings())
    assert mix.per_epoch == 40  # as many as the tasks have together: 10 + 20 + 10
    drawn = [mix.draw(number) for number in range(2 * mix.per_epoch)]
    assert np.bincount([task for task, _ in drawn]).tolist() == [40, 24, 16]
    for task, groups in drawn:
        assert {group.query[0] for group in groups} == {str(task)}
        assert len(groups) == (10, 5, 1)[task]
    queries = [group.query for task, groups in drawn if task == 1 for group in groups]
    assert len(set(queries[:100])) == 100  # none repeats before all have been used


def test_the_order_of_tasks_depends_on_the_seed_and_the_epoch(tasks):
    def order(seed, start):
        mix = Mix(tasks, TrainingSettings(seed=seed))
        mix.draw(399)  # an earlier call changes nothing
        return [mix.draw(start + number) for number in range(mix.per_epoch)]

    assert order(0, 0) == order(0, 0)
    assert [task for task, _ in order(0, 0)] != [task for task, _ in order(0, 40)]
    assert [task for task, _ in order(0, 0)] != [task for task, _ in order(1, 0)]
