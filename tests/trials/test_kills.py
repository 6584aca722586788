"""Killed processes: everything acknowledged is there, and every score is that of its text."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.trials.children import drive
from tests.trials.faults import Faults
from tests.trials.record import SEED, record

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def random_kills(memory_path, kills: int) -> dict[str, Any]:
    arguments = ["random", "--kills", kills, "--seed", SEED, "--out", memory_path]
    return drive("tests.trials.kills", *arguments, timeout=2400)


def chosen_kills(shim, memory_path, kills: int) -> dict[str, Any]:
    (memory_path / "kb").mkdir()
    faults = Faults.create(memory_path / "control", memory_path / "kb")
    arguments = ["calls", "--kills", kills, "--seed", SEED, "--out", memory_path]
    environment = faults.environment(shim)
    return drive("tests.trials.kills", *arguments, timeout=2400, environment=environment)


def test_a_few_kills_at_random_moments(memory_path):
    record("kills at random moments, quick", **random_kills(memory_path, 2))


def test_a_few_kills_at_chosen_calls(shim, memory_path):
    record("kills at chosen calls, quick", **chosen_kills(shim, memory_path, 2))


@pytest.mark.trial
@pytest.mark.timeout(2500)
def test_kills_at_random_moments(memory_path):
    record("kills at random moments", **random_kills(memory_path, 100))


@pytest.mark.trial
@pytest.mark.timeout(2500)
def test_kills_at_chosen_calls(shim, memory_path):
    record("kills at chosen calls", **chosen_kills(shim, memory_path, 300))
