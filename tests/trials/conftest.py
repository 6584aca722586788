"""Fixtures of the trials: the shim, and folders on a small volume."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.trials.children import MEMORY
from tests.trials.faults import build, compiler


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled shim; the test is skipped where there is no C compiler."""
    if not sys.platform.startswith("linux"):
        pytest.skip("The shim needs Linux.")
    if compiler() is None:
        pytest.skip("The shim needs a C compiler.")
    return build(tmp_path_factory.mktemp("shim"))


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """A temporary folder in memory, where a sync takes no time."""
    with tempfile.TemporaryDirectory(prefix="trial", dir=MEMORY) as folder:
        yield Path(folder)


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mount a volume of some MB and return its folder; skipped without the right to mount."""
    mounted: list[Path] = []

    def mount(megabytes: int) -> Path:
        folder = tmp_path / f"volume{len(mounted)}"
        folder.mkdir()
        options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
        try:
            done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
        except OSError as error:
            pytest.skip(f"No mount: {error}")
        if done.returncode:
            pytest.skip(f"No right to mount: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
