"""Calls on files that fail: the shim does what it says, and the store survives it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.trials.children import ROOT, drive
from tests.trials.faults import POSSIBLE, Action, Faults
from tests.trials.power_cut import read_log
from tests.trials.record import SEED, record


@pytest.fixture
def victim(shim, memory_path):
    """Run a victim with a fault and return the finished process and the faults."""
    folder, log = memory_path / "kb", memory_path / "log"
    folder.mkdir()
    faults = Faults.create(memory_path / "control", folder, log=log)

    def run(name="calls", **fault):
        if fault:
            faults.set(**fault)
        command = [sys.executable, "-m", "tests.trials.victims", name, str(folder)]
        environment = faults.environment(shim)
        return subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False
        )

    run.faults, run.log, run.folder = faults, log, folder
    return run


def test_without_a_fault_all_calls_work(victim):
    finished = victim()
    assert finished.returncode == 0, finished.stderr
    lines = finished.stdout.splitlines()
    assert lines[-1] == "names b d"
    assert {line.split()[1] for line in lines[:-1]} == {"0"}
    assert victim.faults.hits == 0


@pytest.mark.parametrize("call", [c for c in POSSIBLE if c != "msync"])
def test_each_call_fails_with_each_error(victim, call):
    for error in POSSIBLE[call]:
        for path in victim.folder.iterdir():
            path.unlink() if path.is_file() else path.rmdir()
        only = "/b" if call == "open" else ""  # not the first file
        finished = victim(action=Action.FAIL, calls=[call], error=error, span=0, only=only)
        lines = [line.split() for line in finished.stdout.splitlines()[:-1]]
        assert {line[1] for line in lines if line[0] == call} == {str(error)}, finished.stderr
        # a rename that failed leaves the old name, so calls on the new one fail by themselves
        others = {line[1] for line in lines if line[0] != call}
        assert others <= {"0", str(errno.ENOENT), str(errno.EEXIST)}


def test_only_the_nth_call_fails_and_only_in_the_right_process(victim):
    finished = victim(action=Action.FAIL, calls=["write"], error=errno.ENOSPC, nth=2)
    writes = [line.split()[1] for line in finished.stdout.splitlines() if line[:5] == "write"]
    assert writes == ["0", str(errno.ENOSPC), "0"]
    finished = victim(action=Action.FAIL, calls=["write"], roles=["other"], span=0)
    assert str(errno.EIO) not in finished.stdout.split()
    assert victim.faults.hits == 0


def test_a_short_write_writes_half(victim):
    finished = victim(action=Action.SHORT, calls=["write"], span=0)
    writes = [line for line in finished.stdout.splitlines() if line[:5] == "write"]
    assert writes == ["write 0 4", "write 0 4", "write 0 2"]


def test_a_lost_rename_is_reported_as_done(victim):
    finished = victim(action=Action.LOST, calls=["rename"])
    assert "rename 0" in finished.stdout
    assert finished.stdout.splitlines()[-1] == "names a b"


def test_a_seed_gives_the_same_faults_again(victim):
    chance = {"action": Action.FAIL, "calls": ["write"], "chance": 0.3, "span": 0}
    hits = []
    for seed in (1, 1, 2):
        for path in victim.folder.iterdir():
            path.unlink()
        victim("OFF", seed=seed, **chance)
        hits.append(victim.faults.hits)
    assert hits[0] == hits[1] > 0


@pytest.mark.parametrize("action", [Action.KILL_BEFORE, Action.KILL_AFTER, Action.KILL_TORN])
def test_a_process_is_killed_at_a_call(victim, action):
    finished = victim(action=action, calls=["write"], nth=1)
    assert finished.returncode == -signal.SIGKILL
    size = {Action.KILL_BEFORE: 0, Action.KILL_AFTER: 8, Action.KILL_TORN: 4}
    assert (victim.folder / "a").stat().st_size == size[action]


def test_the_log_has_every_change(victim):
    victim()
    found = [(r.kind, os.path.basename(r.path), r.data) for r in read_log(victim.log)]
    assert ("create", "a", b"") in found
    assert found.count(("write", "a", b"12345678")) == 2
    for kind in (
        "truncate",
        "rename",
        "link",
        "mkdir",
        "unlink",
        "rmdir",
        "sync begin",
        "sync end",
    ):
        assert kind in {k for k, _, _ in found}


def hurts(shim, memory_path, tries: int) -> dict[str, Any]:
    (memory_path / "kb").mkdir()
    faults = Faults.create(memory_path / "control", memory_path / "kb")
    arguments = ["--tries", tries, "--seed", SEED, "--out", memory_path]
    environment = faults.environment(shim)
    return drive("tests.trials.hurts", *arguments, timeout=1500, environment=environment)


def test_a_few_faults_of_the_disk(shim, memory_path):
    record("faults of the disk, quick", **hurts(shim, memory_path, 2))


@pytest.mark.trial
@pytest.mark.timeout(1600)
def test_faults_of_the_disk(shim, memory_path):
    record("faults of the disk", **hurts(shim, memory_path, 150))
