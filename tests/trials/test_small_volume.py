"""A full disk: `add` refuses, everything else works, and nothing that was acknowledged is lost."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from tests.trials.children import drive
from tests.trials.record import SEED, record

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mounts a tmpfs")

MINUTES = float(os.environ.get("M3RAG_TRIAL_MINUTES", "1"))
"""The length of the long trial; set M3RAG_TRIAL_MINUTES=10 for a full one."""


def story(volume, memory_path, megabytes: int) -> dict[str, Any]:
    arguments = ["story", "--mount", volume(megabytes), "--megabytes", megabytes]
    arguments += ["--seed", SEED, "--out", memory_path]
    return drive("tests.trials.volumes", *arguments, timeout=1200)


def trouble(volume, memory_path, megabytes: int, minutes: float) -> dict[str, Any]:
    arguments = ["trouble", "--mount", volume(megabytes), "--minutes", minutes]
    arguments += ["--seed", SEED, "--out", memory_path]
    return drive("tests.trials.volumes", *arguments, timeout=60 * minutes + 600)


def test_a_volume_fills_up(volume, memory_path):
    record("a volume of 60 MB", **story(volume, memory_path, 60))


@pytest.mark.trial
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("megabytes", [80, 120, 200])
def test_volumes_fill_up(volume, memory_path, megabytes):
    record(f"a volume of {megabytes} MB", **story(volume, memory_path, megabytes))


@pytest.mark.trial
@pytest.mark.timeout(60 * MINUTES + 900)
def test_trouble_on_a_volume(volume, memory_path):
    name = f"{MINUTES:g} minutes of trouble on a volume of 200 MB"
    record(name, **trouble(volume, memory_path, 200, MINUTES))
