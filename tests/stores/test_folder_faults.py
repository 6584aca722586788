"""The store in a folder that is removed, damaged, replaced, or in another process's hands."""

import logging
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from contextlib import closing

import numpy as np
import pytest

from m3rag.errors import DataLossWarning, FormatError, InUseError, StorageError
from m3rag.index import QueryPlan
from m3rag.stores.edge import acknowledged, startup
from m3rag.stores.edge.store import EdgeStore
from tests.stores.stores import COLBERT_DIM, DIM, make, named, unit


def opened(folder, **options):
    return EdgeStore(folder, dim=DIM, colbert_dim=COLBERT_DIM, **options)


@pytest.fixture
def folder(tmp_path, rng):
    folder = tmp_path / "kb"
    folder.mkdir()
    with closing(opened(folder)) as store:
        store.add(make(rng, named(30)))
    return folder


def plan(rng):
    return QueryPlan(
        ("dense",),
        ("dense", "colbert"),
        50,
        dense=unit(rng, DIM),
        colbert=unit(rng, 3, COLBERT_DIM),
    )


def results(store):
    [found] = store.search([plan(np.random.default_rng(5))])
    columns = [found.scores[c].tolist() for c in ("dense", "colbert")]
    return {i: scores for i, *scores in zip(found.ids, *columns, strict=True)}


@pytest.mark.parametrize("how", ["removed", "renamed", "replaced"])
def test_nothing_is_stored_in_a_folder_that_is_gone(folder, rng, how):
    with closing(opened(folder)) as store:
        if how == "removed":
            shutil.rmtree(folder)
        else:
            folder.rename(folder.with_name("other"))
        if how == "replaced":
            shutil.copytree(folder.with_name("other"), folder)
        with pytest.raises(StorageError, match="removed, renamed or replaced"):
            store.add(make(rng, named(3, "q")))
        with pytest.raises(StorageError, match="removed, renamed or replaced"):
            store.delete(["p1"])
        assert len(results(store)) == store.count() == 30
    assert folder.exists() == (how == "replaced")


def test_search_files_from_another_change_are_not_used(folder, rng):
    """As after a restore of some files only."""
    [engine] = folder.glob("engine-*")
    shutil.copytree(engine, folder.parent / "old")
    seal = (folder / "seal.json").read_bytes()
    with closing(opened(folder)) as store:
        store.add(make(rng, named(5, "q")))
        store.delete(["p0"])
    for path in folder.glob("engine-*"):
        shutil.rmtree(path)
    shutil.copytree(folder.parent / "old", engine)
    (folder / "seal.json").write_bytes(seal)
    with closing(opened(folder)) as store:
        assert results(store).keys() == {*named(30), *named(5, "q")} - {"p0"}


def test_a_clean_close_keeps_the_search_files(folder):
    [engine] = folder.glob("engine-*")
    for _ in range(2):
        with closing(opened(folder)) as store:
            assert len(results(store)) == 30
        assert [*folder.glob("engine-*")] == [engine]


def test_a_process_that_only_searched_may_be_killed(folder):
    [engine] = folder.glob("engine-*")
    code = (
        "import os, sys; from pathlib import Path; from tests.stores.test_folder_faults import *\n"
        "assert len(results(opened(Path(sys.argv[1])))) == 30; os.kill(os.getpid(), 9)"
    )
    ran = subprocess.run([sys.executable, "-c", code, folder], check=False)
    assert ran.returncode == -9
    with closing(opened(folder)) as store:
        assert len(results(store)) == 30
    assert [*folder.glob("engine-*")] == [engine]


def test_a_large_database_is_verified_in_the_background(folder, monkeypatch, caplog):
    """Damage that kept the size and the time of the file, as of a failing disk."""
    monkeypatch.setattr(startup, "_VERIFIED_AT_OPEN", 0)
    path = folder / "passages.db"
    status, content = path.stat(), bytearray(path.read_bytes())
    at = content.index(b"text of p7")
    content[at] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    caplog.set_level(logging.ERROR, "m3rag")
    with closing(opened(folder)) as store:
        deadline = time.monotonic() + 20
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.02)
        assert "1 of 30 passages are damaged" in caplog.text
        with pytest.raises(FormatError, match="m3rag repair"):
            store.count()
        with pytest.raises(FormatError, match="m3rag repair"):
            store.search([])
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(FormatError, match="damaged"):  # a changed time is a reason to look at once
        opened(folder)


def test_a_verification_in_the_background_ends_with_the_store(folder, monkeypatch):
    monkeypatch.setattr(startup, "_VERIFIED_AT_OPEN", 0)
    opened(folder).close()
    deadline = time.monotonic() + 10
    while any(t.name == "m3rag-verify" for t in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_changes_lost_in_a_power_cut_are_a_warning(folder, monkeypatch):
    record = acknowledged.Record(folder, acknowledged.read(folder).identity)
    record.write(99, 77)
    record.close()
    with pytest.raises(FormatError, match="lost its last"):
        opened(folder)
    (folder / "seal.json").unlink()
    monkeypatch.setattr(acknowledged, "_boot", lambda: "another start of the system")
    with pytest.warns(DataLossWarning, match="30 passages, and had 77"):
        store = opened(folder)
    with closing(store):
        assert store.count() == 30
    with closing(opened(folder)) as store:  # without a warning
        assert store.count() == 30


def test_a_record_that_was_half_written_does_not_matter(folder):
    with closing(opened(folder)) as store:
        store.delete(["p0"])
        store.delete(["p1"])
    slots = (folder / acknowledged.NAME).read_bytes()
    for half in (slots[:300], slots[:100] + bytes(156) + slots[256:], slots[:256], b"", bytes(512)):
        (folder / acknowledged.NAME).write_bytes(half)
        with closing(opened(folder)) as store:
            assert store.count() == 28
    (folder / acknowledged.NAME).write_bytes(b"x" * 512)
    with pytest.raises(FormatError, match="acknowledged is damaged"):
        opened(folder)


def test_a_durable_add_is_flushed(folder, rng):
    with closing(opened(folder)) as store:
        store.add(make(rng, named(3, "q")), durable=True)
        assert store.count() == 33


def test_a_second_opening_names_the_first(folder):
    code = (
        "import sys; from pathlib import Path; from tests.stores.test_folder_faults import *\n"
        "store = opened(Path(sys.argv[1])); print(1, flush=True); sys.stdin.read()"
    )
    with closing(opened(folder)), pytest.raises(InUseError, match="already open in this process"):
        opened(folder)
    with subprocess.Popen(
        [sys.executable, "-c", code, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        with pytest.raises(InUseError, match=f"by process {other.pid}"):
            opened(folder)
        other.kill()
    opened(folder).close()


@pytest.mark.parametrize("name", ["passages.db", "lock", "owner.json", "seal.json", "acknowledged"])
@pytest.mark.parametrize("kind", ["folder", "fifo", "dangling"])
def test_odd_files_in_the_place_of_ours_do_not_hang(folder, name, kind):
    path = folder / name
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere")
    with pytest.raises(FormatError, match="is not a regular file"):
        opened(folder)


def test_without_descriptors_nothing_is_called_damaged(folder):
    """With each limit, opening works, or fails with the true cause; nothing is lost."""
    code = """
import resource, sys
from pathlib import Path
from m3rag.errors import FormatError, StorageError
from tests.stores.test_folder_faults import opened, results
store = opened(Path(sys.argv[1]))
results(store)  # everything is imported
store.close()
for limit in (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 17, 18, 24):
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, 4096))
    try:
        store = opened(Path(sys.argv[1]))
    except StorageError as error:
        assert "damaged" not in str(error), (limit, error)
        continue
    assert len(results(store)) == 30
    store.close()
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, folder], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 40
    with closing(opened(folder)) as store:
        assert len(results(store)) == 30
