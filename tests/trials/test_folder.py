"""A large folder of mixed files, through the real command."""

import sys

import pytest

from tests.trials.folder_trial import Trial
from tests.trials.mixed_folder import MixedFolder
from tests.trials.record import SEED, record


@pytest.mark.trial
@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such entries and signals")
def test_a_folder_of_mixed_files(tmp_path, tiny):
    made = MixedFolder(tmp_path / "company", 80, seed=SEED)
    files = len(made)
    trial = Trial(made, tmp_path, tiny)
    trial.run()
    record("a folder of mixed files", tried=len(trial.rows), note=f"steps; {files:,} files")
