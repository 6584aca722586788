"""Damage to any file of an index: harmless or reported, never silent."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.trials.children import drive
from tests.trials.indexes import MODES
from tests.trials.record import SEED, record

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links and FIFOs")


def mutations(memory_path, mode: str, tries: int) -> dict[str, Any]:
    arguments = ["--mode", mode, "--tries", tries, "--seed", SEED, "--out", memory_path]
    return drive("tests.trials.mutations", *arguments, timeout=2400)


def test_a_few_mutations(memory_path):
    record("mutations, quick", **mutations(memory_path, "stored", 4))


@pytest.mark.trial
@pytest.mark.timeout(2500)
@pytest.mark.parametrize("mode", MODES)
def test_mutations(memory_path, mode):
    record(f"mutations of an index, ColBERT {mode}", **mutations(memory_path, mode, 1000))
