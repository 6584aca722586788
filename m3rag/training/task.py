"""A task of a run: files of examples with their share of the steps and settings of their own."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from m3rag.errors import InputError
from m3rag.limits import brief, shown
from m3rag.training.settings import TrainingSettings

_MIX_BYTES = 1 << 20
_TABLE = "task"
_OWN = ("data", "name", "share")  # the fields that are not settings


@dataclass(frozen=True, slots=True)
class Task:
    """A kind of examples, such as translations, and how to train on it.

    The settings that are None are those of the run. `TrainingSettings` describes all of them.

    Attributes:
        data: The files of examples; see `m3rag.training.example`.
        name: The name in the log and in messages; the name of the first file if empty.
        share: The share of the run's steps. Shares count in proportion, so they need not add up
            to 1.
    """

    data: str | Path | Iterable[str | Path]
    _: KW_ONLY
    name: str = ""
    share: float = 1.0
    batch: int | None = None
    group_size: int | None = None
    in_batch_negatives: bool | None = None
    same_source: bool | float | None = None
    same_language: float | None = None
    source_power: float | None = None
    max_query_length: int | None = None
    max_passage_length: int | None = None
    dense_weight: float | None = None
    sparse_weight: float | None = None
    colbert_weight: float | None = None
    ensemble_weight: float | None = None
    distil_weight: float | None = None
    symmetric: bool | None = None
    teacher_vectors_weight: float | None = None
    centre_weight: float | None = None

    def __post_init__(self) -> None:
        files = (self.data,) if isinstance(self.data, str | Path) else tuple(self.data)
        object.__setattr__(self, "data", tuple(map(Path, files)))
        if not files:
            raise InputError(f"The task {self.name!r} has no files in `data`.")
        if not self.name:
            object.__setattr__(self, "name", Path(files[0]).name.partition(".")[0])
        if not (math.isfinite(self.share) and self.share > 0):
            raise InputError(f"The `share` of {self.name!r} must be above 0, got {self.share}.")
        self.settings(TrainingSettings())

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of examples."""
        assert isinstance(self.data, tuple)
        return self.data

    def settings(self, run: TrainingSettings) -> TrainingSettings:
        """Return the settings of a run with those of this task.

        Raises:
            InputError: A value is out of range.
        """
        try:
            return replace(run, **self._changes())
        except InputError as error:
            raise InputError(f"The task {self.name!r}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Return what is not the default as JSON values, without the files."""
        return {"name": self.name, "share": self.share, **self._changes()}

    def _changes(self) -> dict[str, Any]:
        values = asdict(self)
        return {name: values[name] for name in values.keys() - {*_OWN} if values[name] is not None}


def read_mix(path: str | Path) -> list[Task]:
    """Read the tasks of a TOML file with a table `[[task]]` for each.

    Paths in `data` are relative to the folder of the file.

    Raises:
        InputError: The file does not exist or is not TOML, or a key or a value is wrong.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(_MIX_BYTES + 1)
        mix = tomllib.loads(content[:_MIX_BYTES].decode())
    except OSError as error:
        raise InputError(f"{brief(path)} cannot be read: {brief(error)}.") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not TOML: {brief(error)}.") from None
    if len(content) > _MIX_BYTES:
        raise InputError(f"{path} is larger than {_MIX_BYTES:,} bytes. Is it a mix of tasks?")
    tables = mix.pop(_TABLE, None)
    if mix:
        raise InputError(f"{path} has {shown(list(mix))[1:-1]}; it may only have [[{_TABLE}]].")
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{path} has no [[{_TABLE}]]: each task needs such a table.")
    tasks = []
    for number, table in enumerate(tables, start=1):
        try:
            tasks.append(_task(table, path.parent))
        except InputError as error:
            raise InputError(f"{path}, [[{_TABLE}]] {number}: {error}") from None
    check_names(tasks)
    return tasks


def check_names(tasks: Iterable[Task]) -> None:
    """Check that no two tasks have one name.

    Raises:
        InputError: Two have.
    """
    seen: set[str] = set()
    for task in tasks:
        if task.name in seen:
            raise InputError(f"Two tasks have the name {task.name!r}. Give each another `name`.")
        seen.add(task.name)


def _task(table: Mapping[str, Any], folder: Path) -> Task:
    known = {field.name: str(field.type) for field in fields(Task)}
    values = dict(table)
    for name, value in values.items():
        if name not in known:
            raise InputError(f"{shown(name)} is unknown. A task may have {', '.join(known)}.")
        if name != "data" and not _fits(value, known[name]):
            kind = known[name].removesuffix(" | None")
            raise InputError(f"`{name}` must be {kind.replace(' | ', ' or ')}, got {shown(value)}.")
    data = values.pop("data", None)
    files = [data] if isinstance(data, str) else data
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise InputError(f"`data` must be a file or a list of files, got {shown(data)}.")
    return Task([folder / file for file in files], **values)


def _fits(value: object, kind: str) -> bool:
    """Return whether a value of TOML fits the type of a field; 1 fits a float."""
    kinds: dict[str, type] = {"str": str, "int": int, "float": float, "bool": bool}
    allowed = {kinds[name] for name in kind.removesuffix(" | None").split(" | ")}
    return type(value) in allowed or (type(value) is int and float in allowed)
