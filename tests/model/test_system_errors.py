"""An error of the system while a model is read is reported as what it is, not as damage."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from m3rag import M3Model
from m3rag.errors import CheckpointError
from m3rag.model import checkpoint
from tests.trials import hostile_models as hostile
from tests.trials.small_model import write_small

linux = pytest.mark.skipif(sys.platform != "linux", reason="special files and limits of Linux")


@pytest.fixture
def folder(tmp_path):
    return write_small(tmp_path / "small")


def test_reading_writes_nothing(folder):
    def state():
        return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in [folder, *folder.rglob("*")]}

    before = state()
    with M3Model.load(folder, dtype="float32") as model:
        model.encode(["soil"])
    assert state() == before


SYSTEM = """
import os, resource, sys
from pathlib import Path
from m3rag.errors import CheckpointError
from m3rag.model import checkpoint
folder, names = Path(sys.argv[1]), sys.argv[2:]
checkpoint.read(folder)  # imports everything

def attempt():
    try:
        checkpoint.read(folder)
        print("loaded")
    except CheckpointError as error:
        print(error)

for name in names:
    (folder / name).chmod(0)
    os.seteuid(65534)
    attempt()
    os.seteuid(0)
    (folder / name).chmod(0o644)
if not names:
    used = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used, used))
    attempt()
"""


def in_child(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", SYSTEM, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@linux
def test_too_many_open_files_are_no_damage(folder):
    [message] = in_child(folder)
    assert "config.json cannot be read: Too many open files. This process has" in message
    assert "damaged" not in message


@linux
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="changes the user")
def test_a_file_without_permission_is_no_damage():
    # Not in pytest's folder, which other users must not enter.
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        folder = write_small(Path(place) / "small")
        for path in folder.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        names = ["config.json", "tokenizer.json", "model.safetensors", hostile.HEAD]
        for name, message in zip(names, in_child(folder, *names), strict=True):
            assert f"{name} cannot be read: Permission denied. Give this user" in message
            assert "damaged" not in message


@linux
def test_an_error_of_the_drive_is_no_damage(folder):
    hostile.special("config.json", "kernel file")(folder)
    with pytest.raises(CheckpointError, match=r"config.json cannot be read: Input/output"):
        checkpoint.read(folder)
