"""Check, repair and copy the folder of an index; see `m3rag.index.maintenance`."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from m3rag.errors import FormatError, InUseError, M3Error, StorageError
from m3rag.files import write_bytes
from m3rag.stores.base import MANIFEST
from m3rag.stores.edge import acknowledged, connection, salvage, schema, seal, startup
from m3rag.stores.edge.counters import read_state
from m3rag.stores.edge.database import Database
from m3rag.stores.edge.lock import Lock
from m3rag.stores.edge.verification import damage_message, verify
from m3rag.stores.health import CheckReport, Count, RepairReport
from m3rag.stores.records import NEXT, RECORDS, parse, verified

_PAGES = 2_000  # of a backup that are copied at a time


def check(folder: Path, progress: Count) -> CheckReport:
    """Verify every byte of an index, which may be open in another process or in this one.

    Raises:
        StorageError: It cannot be read.
    """
    problems = [*_record_problems(folder)]
    notes: list[str] = []
    expected = found = 0
    with _held(folder) as held:
        try:
            with _opened(folder, read_only=not held) as opened:
                count = opened.state().passages
                result = verify(opened, lambda n: progress(n, count))
                problems += result.problems
                expected, found = result.expected, result.found
                if not problems:
                    problems += startup.lost_changes(folder, opened.state())
                    problems += foreign_records(folder, opened)
        except FormatError as error:
            problems.append(str(error))
        sealed = seal.read_seal(folder)
        if not held and os.access(folder, os.W_OK):
            notes.append("The index is in use: its search files were not checked.")
        elif sealed is None or not sealed.intact(folder):
            notes.append("The search files are missing or outdated; the next opening makes them.")
    return CheckReport(expected, found, tuple(problems), tuple(notes))


def repair(folder: Path, progress: Count) -> RepairReport:
    """Keep everything that is intact, and make an index that opens again.

    A damaged database is kept beside the new one as `passages.db.damaged`.

    Raises:
        FormatError: There is nothing to repair, or no copy of the manifest.
        InUseError: The index is open.
        StorageError: It cannot be read or written.
    """
    path = folder / schema.NAME
    if not any(os.path.lexists(p) for p in (path, folder / MANIFEST)):
        raise FormatError(f"{folder} is not an m3rag index: it has no {MANIFEST}.")
    _rename_odd_files(folder)
    with contextlib.ExitStack() as stack:
        stack.callback(Lock(folder).release)
        report, done = RepairReport(), []
        if path.exists():
            try:
                widths = _widths(path)
            except FormatError:
                widths = _manifest_widths(folder)
                done.append(salvage.restore_header(folder, widths))
            report = salvage.salvage(folder, widths, progress)
        done += _restore_records(folder)
        if not path.exists():
            done.append(_empty_database(folder))
        for name in (acknowledged.NAME, seal.NAME):
            (folder / name).unlink(missing_ok=True)
        for engine in folder.glob(f"{seal.PREFIX}*"):
            shutil.rmtree(engine, ignore_errors=True)
        return report.with_done(done)


def backup(folder: Path, target: Path, progress: Count) -> int:
    """Copy an index as it is at this moment, also while it is changed; return its passages.

    The copy is an index itself: it can be opened, checked and copied back. It has no search files;
    they are made when it is opened.

    Raises:
        FormatError: The index or the copy is damaged.
        StorageError: The target exists and is not empty, or cannot be written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StorageError(f"{target} exists and is not empty. Choose a new folder.")
    if problems := [*_record_problems(folder)]:
        raise FormatError(" ".join(problems))
    with connection.errors(target / schema.NAME, "copy the index"):
        target.mkdir(parents=True, exist_ok=True)
        _copy_database(folder / schema.NAME, target / schema.NAME)
        for name in RECORDS:
            if (folder / name).is_file() and name != MANIFEST:
                write_bytes(target / name, (folder / name).read_bytes())
        with _opened(target, read_only=False) as copy:
            count = copy.state().passages
            result = verify(copy, lambda n: progress(n, count))
            if result.problems:
                raise FormatError(damage_message(folder / schema.NAME, result))
        # Last, because a folder with a manifest is an index.
        write_bytes(target / MANIFEST, (folder / MANIFEST).read_bytes())
    return count


def _copy_database(source: Path, target: Path) -> None:
    with (
        contextlib.closing(connection.read_only_connection(source)) as original,
        contextlib.closing(connection.create(target)) as copy,
    ):
        original.execute("BEGIN")  # one moment, however long it takes and whatever is added
        original.execute("SELECT change FROM state").fetchall()
        original.backup(copy, pages=_PAGES, sleep=0.0)
        original.execute("ROLLBACK")
        copy.execute("PRAGMA synchronous = FULL")
        connection.write_log(copy)


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[bool]:
    """Lock the folder if it is writable and not open elsewhere; yield whether it is locked."""
    try:
        lock = Lock(folder) if os.access(folder, os.W_OK) else None
    except InUseError:
        lock = None
    try:
        yield lock is not None
    finally:
        if lock is not None:
            lock.release()


@contextlib.contextmanager
def _opened(folder: Path, *, read_only: bool) -> Iterator[Database]:
    path = folder / schema.NAME
    if not path.is_file():
        raise FormatError(f"{path} is missing. Restore a backup, or run `m3rag repair`.")
    widths = _widths(path)
    with contextlib.closing(Database(folder, widths, read_only=read_only, quiet=True)) as opened:
        yield opened


def _widths(path: Path) -> tuple[int, int | None]:
    """Return the widths that a database says it has."""
    with (
        connection.errors(path, "read"),
        contextlib.closing(connection.read_only_connection(path)) as opened,
    ):
        return read_state(opened).parsed_widths


def _record_problems(folder: Path) -> Iterator[str]:
    if not os.path.lexists(folder / MANIFEST):
        yield f"{folder / MANIFEST} is missing."
    for name in RECORDS:
        problem = _record_problem(folder / name)
        if problem is not None:
            yield problem


def _record_problem(path: Path) -> str | None:
    """Return what is wrong with a record, if it exists and anything is."""
    if not os.path.lexists(path):
        return None
    try:
        if not path.is_file():
            raise OSError("it is not a regular file")
        _, checked = verified(parse(path.read_bytes()))
        if not checked:
            raise ValueError("it has no checksum")
    except (OSError, ValueError) as error:
        return f"{path} is damaged: {error}."
    return None


def foreign_records(folder: Path, opened: Database) -> Iterator[str]:
    """Yield which records are not those that the index has written: another index's, or older."""
    for name in RECORDS:
        copies = [opened.recall(name), opened.recall(f"{name}{NEXT}")]
        path = folder / name
        try:
            foreign = any(copies) and path.is_file() and path.read_bytes() not in copies
        except OSError:
            continue  # the one who reads it reports it
        if foreign:
            yield f"{path} is not the one that was written last."


def _restore_records(folder: Path) -> list[str]:
    """Write the records that are damaged or missing again, from their copies in the database."""
    done = []
    copies = _copies(folder)
    for name in RECORDS:
        path = folder / name
        intact = path.is_file() and _record_problem(path) is None
        intact = intact and path.read_bytes() == copies.get(name, path.read_bytes())
        if intact or (name not in copies and not os.path.lexists(path)):
            continue
        if name in copies:
            if path.is_dir() and not path.is_symlink():
                path.rename(path.with_name(f"{name}.damaged"))
            write_bytes(path, copies[name])
            done.append(f"{name} was restored from its copy.")
        elif name == MANIFEST:
            raise FormatError(
                f"{path} is damaged, and there is no copy of it. Restore a backup, or index the "
                "documents into a new folder."
            )
        else:
            path.rename(path.with_name(f"{name}.damaged"))
            done.append(f"{name} is damaged, and there is no copy of it; it was renamed.")
    return done


def _copies(folder: Path) -> dict[str, bytes]:
    try:
        with _opened(folder, read_only=True) as opened:
            return {name: copy for name in RECORDS if (copy := opened.recall(name)) is not None}
    except M3Error:
        return {}


def _rename_odd_files(folder: Path) -> None:
    """Rename what is not a regular file but has the name of one of ours."""
    for name in (*startup.FILES, *RECORDS):
        path = folder / name
        if os.path.lexists(path) and not path.is_file():
            path.rename(path.with_name(f"{name}.damaged"))


def _manifest_widths(folder: Path) -> tuple[int, int | None]:
    """Return the widths that the manifest names.

    Raises:
        FormatError: It is damaged or missing.
    """
    try:
        values, _ = verified(parse((folder / MANIFEST).read_bytes()))
        stored = values["colbert"] == "stored"
        return int(values["model"]["dim"]), int(values["model"]["colbert_dim"]) if stored else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"{folder / MANIFEST} and {schema.NAME} are both damaged ({error}). Restore a "
            "backup, or index the documents into a new folder."
        ) from error


def _empty_database(folder: Path) -> str:
    schema.create(folder, _manifest_widths(folder))
    try:
        lost = acknowledged.read(folder)
    except (FormatError, OSError):
        lost = None
    count = "its" if lost is None else f"{lost.count}"
    return f"{schema.NAME} was missing: an empty one was made, and {count} passages are lost."
