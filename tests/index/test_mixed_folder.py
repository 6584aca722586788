"""A small folder of mixed files, kept in step; `tests/trials/folder_trial.py` takes 2,000."""

import os
from dataclasses import asdict

import pytest

from m3rag import M3Index
from m3rag.index.sync import sync
from tests.trials.folder_trial import check_changed, check_first, check_search, check_unchanged, ids
from tests.trials.mixed_folder import MixedFolder


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such entries")
def test_a_folder_is_indexed_changed_interrupted_and_emptied(tmp_path, tiny):
    made = MixedFolder(tmp_path / "company", 4, plain=True)
    assert len(made) > 50

    def run(index, progress=None):
        return asdict(sync(index, made.root, tiny.tokenizer, max_tokens=48, progress=progress))

    def interrupt(stage, done, total):
        if stage == "passages":
            raise KeyboardInterrupt

    with M3Index.open(tmp_path / "kb", model=tiny) as index, M3Index.open(model=tiny) as other:
        check_first(made, run(index))
        check_unchanged(made, run(index))
        assert check_search(made, index, 3) > 40
        with pytest.raises(KeyboardInterrupt):
            run(other, interrupt)
        assert 0 < len(other) < len(index)
        assert run(other)["unchanged"]
        assert ids(other) == ids(index)
        expected = made.change()
        assert all((expected.added, expected.removed, len(expected.renamed) > 10))
        check_changed(expected, run(index), index)
        check_search(made, index, 3)
        check_unchanged(made, run(index))
        made.empty()
        assert set(run(index)["removed"]) == set(made.words)
        assert len(index) == 0
