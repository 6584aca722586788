"""Power cuts: what a durable add acknowledged is there, and nothing is silently wrong."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.trials.children import ROOT, drive
from tests.trials.cuts import rebuild
from tests.trials.faults import Faults
from tests.trials.power_cut import HOW, Disk, read_log
from tests.trials.record import SEED, record
from tests.trials.victims import rows


@pytest.fixture
def after_cuts(shim, memory_path):
    """Run a victim, cut the power after each call; yield the folder and what was acknowledged."""

    def run(name: str, hows=HOW) -> Iterator[tuple[Path, int]]:
        folder, log, after = memory_path / "kb", memory_path / "log", memory_path / "after"
        folder.mkdir()
        faults = Faults.create(memory_path / "control", folder, log=log)
        disk, rng = Disk(folder), random.Random(SEED)
        command = [sys.executable, "-m", "tests.trials.victims", name, str(folder)]
        subprocess.run(command, env=faults.environment(shim), cwd=ROOT, check=True)
        acknowledged = -1
        for record_ in disk.replay(read_log(log)):
            if record_.kind == "mark":
                acknowledged = int(record_.data.split()[1])
            for how in hows:
                rebuild(after, disk.after_cut(how, rng), None, rng)
                yield after, acknowledged

    return run


def test_a_database_that_syncs_survives_any_cut(after_cuts):
    tried = 0
    for folder, acknowledged in after_cuts("FULL"):
        if acknowledged >= 0:
            assert rows(folder) >= acknowledged
            tried += 1
    assert tried > 200


def test_the_model_shows_that_a_database_that_does_not_sync_loses_rows(after_cuts):
    lost = 0
    for folder, acknowledged in after_cuts("NORMAL", ["drop", "first"]):
        if acknowledged >= 0:
            found = rows(folder)  # consistent in any case
            lost += found < acknowledged
    assert lost > 20


def test_a_file_that_is_synced_before_it_is_renamed_is_whole(after_cuts):
    for folder, acknowledged in after_cuts("replaced"):
        if acknowledged > 0:
            content = (folder / "file").read_bytes()
            assert len(content) == 10_000
            assert len(set(content)) == 1
            assert content[0] >= acknowledged


def test_the_model_shows_what_a_rename_without_a_sync_leaves(after_cuts):
    torn = missing = 0
    for folder, acknowledged in after_cuts("replaced carelessly"):
        if not (folder / "file").exists():
            missing += acknowledged > 0
            continue
        content = (folder / "file").read_bytes()
        torn += len(content) != 10_000 or len(set(content)) > 1
    assert torn > 5
    assert missing > 5


def cuts(shim, memory_path, n: int) -> dict[str, Any]:
    (memory_path / "kb").mkdir()
    faults = Faults.create(memory_path / "control", memory_path / "kb", log=memory_path / "log")
    arguments = ["--cuts", n, "--seed", SEED, "--out", memory_path]
    environment = faults.environment(shim)
    return drive("tests.trials.cuts", *arguments, timeout=1500, environment=environment)


def test_a_few_power_cuts(shim, memory_path):
    record("power cuts, quick", **cuts(shim, memory_path, 3))


@pytest.mark.trial
@pytest.mark.timeout(1600)
def test_power_cuts(shim, memory_path):
    record("power cuts", **cuts(shim, memory_path, 300))
