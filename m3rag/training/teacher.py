"""Another embedding model as a teacher: its vectors of the texts that are trained on.

The model may run during training, or once before it: `write_teacher_vectors` writes a file of the
vectors of all texts, which `VectorFile` looks up. The file is a safetensors file:

    vectors   float16 (n, d), unit vectors
    keys      int64 (n,), the 64-bit hashes of the texts and their roles, ascending
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from m3rag.errors import CheckpointError, InputError
from m3rag.files import written
from m3rag.limits import shown
from m3rag.model import weights
from m3rag.progress import Progress, counting
from m3rag.training.example import Example
from m3rag.training.examples import Examples
from m3rag.training.task import Task

Role = str
QUERY, PASSAGE = "query", "passage"
_CHUNK = 8192  # texts that a teacher encodes at a time; it may sort them by length

Vectors = NDArray[np.floating]


class VectorTeacher(Protocol):
    """An embedding model. In symmetric tasks, passages are queries too."""

    def queries(self, texts: Sequence[str], /) -> Vectors:
        """Return the vectors `(n, d)` of queries. Their length does not matter."""
        ...

    def passages(self, texts: Sequence[str], /) -> Vectors:
        """Return the vectors `(n, d)` of passages."""
        ...


class VectorFile:
    """A teacher whose vectors come from a file that `write_teacher_vectors` wrote.

    Attributes:
        path: The file, which is mapped into memory.
        digest: A hash of the keys and of a sample of the vectors.
    """

    def __init__(self, path: str | Path) -> None:
        """Open a file.

        Raises:
            InputError: It does not exist, is damaged, or is not such a file.
        """
        self.path = Path(path)
        try:
            infos = weights.inspect(self.path).infos
            found = {name: (info.dtype, len(info.shape)) for name, info in infos.items()}
            expected = {"vectors": ("float16", 2), "keys": ("int64", 1)}
            if found != expected or infos["vectors"].shape[:1] != infos["keys"].shape:
                raise InputError(
                    f"{self.path} is not a file of teacher vectors: it has {shown(found)}. Write "
                    "one with write_teacher_vectors."
                )
            tensors = weights.load(self.path, expected)
        except CheckpointError as error:
            raise InputError(str(error)) from error
        self._vectors: NDArray[np.float16] = tensors["vectors"].numpy()
        self._keys: NDArray[np.int64] = tensors["keys"].numpy()
        digest = hashlib.sha256(self._keys.tobytes())
        digest.update(self._vectors[:: max(1, len(self._keys) // 1024)].tobytes())
        self.digest = digest.hexdigest()[:16]

    def queries(self, texts: Sequence[str], /) -> Vectors:
        """Return the vectors `(n, d)` of queries."""
        return self._look_up(QUERY, texts)

    def passages(self, texts: Sequence[str], /) -> Vectors:
        """Return the vectors `(n, d)` of passages."""
        return self._look_up(PASSAGE, texts)

    def check(self, examples: Examples, *, symmetric: bool) -> None:
        """Check that the file has a vector for each text of a task.

        Raises:
            InputError: It has not.
        """
        for example in examples:
            for role, text in _texts(example, symmetric=symmetric):
                self._look_up(role, [text])

    def _look_up(self, role: Role, texts: Sequence[str]) -> Vectors:
        keys = np.array([_key(role, text) for text in texts], np.int64)
        rows = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        if (missing := np.flatnonzero(self._keys[rows] != keys)).size:
            raise InputError(
                f"{self.path} has no vector for the {role} {shown(texts[missing[0]], 80)}. Write "
                "the file again, from the data and tasks that you train on."
            )
        vectors: Vectors = self._vectors[rows]
        return vectors


def write_teacher_vectors(
    teacher: VectorTeacher,
    data: str | Path | Iterable[str | Path | Task],
    to: str | Path,
    *,
    symmetric: bool = False,
    progress: Progress | None = None,
) -> int:
    """Write the vectors of all texts of training data to a file, for `train`.

    Tasks whose `teacher_vectors_weight` is 0 are left out.
    All different texts are in memory, and their vectors in the file, 2 bytes per dimension.

    Args:
        teacher: The model.
        data: What `train` will be given.
        to: The file, by custom `.safetensors`.
        symmetric: The setting of the run, for tasks that do not have it.
        progress: Called with "texts", the number done and the number of all texts, in this thread.

    Returns:
        The number of texts. A text that is a query and a passage counts as two.

    Raises:
        InputError: The data cannot be used, or a vector of the teacher is not finite.
        StorageError: The file cannot be written.
    """
    texts: dict[int, tuple[Role, str]] = {}
    for task in tasks_of(data):
        if task.teacher_vectors_weight == 0:
            continue
        both = symmetric if task.symmetric is None else task.symmetric
        for example in Examples(task.files):
            for role, text in _texts(example, symmetric=both):
                texts[_key(role, text)] = role, text
    keys = np.array(sorted(texts), np.int64)
    add = counting(progress, "texts", len(keys))
    with written(Path(to)) as file:
        width = 0
        for start in range(0, len(keys), _CHUNK):
            chunk = [texts[key] for key in keys[start : start + _CHUNK].tolist()]
            vectors = _both_roles(teacher, chunk).astype(np.float16)
            if not width:
                width = vectors.shape[1]
                file.write(_header(len(keys), width))
            if vectors.shape[1] != width:
                raise InputError(
                    f"The teacher's vectors have {width} dimensions, then {vectors.shape[1]}."
                )
            file.write(vectors.tobytes())
            add(len(chunk))
        file.write(keys.tobytes())
    return len(keys)


def tasks_of(data: str | Path | Iterable[str | Path | Task]) -> list[Task]:
    """Return the tasks of the argument `data` of `train`: files are one task together.

    Raises:
        InputError: There are none, or files are mixed with tasks.
    """
    items = [data] if isinstance(data, str | Path) else list(data)
    if not items:
        raise InputError("There are no training examples in an empty list of files.")
    tasks = [item for item in items if isinstance(item, Task)]
    files = [item for item in items if not isinstance(item, Task)]
    if tasks and files:
        raise InputError(f"{files[0]} is a file among tasks. Make it a Task, too.")
    return tasks or [Task(files)]


def identity_of(teacher: VectorTeacher) -> str:
    """Return a name that tells a teacher from others, for the state of a run."""
    return teacher.digest if isinstance(teacher, VectorFile) else type(teacher).__qualname__


def unit_vectors(vectors: Vectors, count: int) -> NDArray[np.float32]:
    """Return the vectors `(count, d)` of a teacher, scaled to length 1.

    Raises:
        InputError: They have another shape, or are not finite.
    """
    found = np.asarray(vectors, np.float32)
    if found.ndim != 2 or len(found) != count:
        raise InputError(
            f"The teacher returned an array of shape {found.shape} for {count} texts; it must be "
            f"({count}, d)."
        )
    norms = np.linalg.norm(found, axis=1, keepdims=True)
    if not np.isfinite(norms).all():
        raise InputError("The teacher returned a vector with NaN or infinity.")
    scaled: NDArray[np.float32] = found / np.maximum(norms, np.finfo(np.float32).tiny)
    return scaled


def _both_roles(teacher: VectorTeacher, texts: Sequence[tuple[Role, str]]) -> NDArray[np.float32]:
    """Return the vectors of texts of both roles, in their order."""
    rows: dict[int, NDArray[np.float32]] = {}
    for role, encode in ((QUERY, teacher.queries), (PASSAGE, teacher.passages)):
        places = [i for i, (own, _) in enumerate(texts) if own == role]
        if places:
            found = unit_vectors(encode([texts[i][1] for i in places]), len(places))
            rows.update(zip(places, found, strict=True))
    return np.stack([rows[i] for i in range(len(texts))])


def _texts(example: Example, *, symmetric: bool) -> Iterator[tuple[Role, str]]:
    """Yield each text that can be drawn from an example, with its role for the teacher."""
    other = QUERY if symmetric else PASSAGE
    yield from ((QUERY, text) for text in example.queries)
    yield from ((other, text) for text in (*example.positives, *example.negatives))


def _key(role: Role, text: str) -> int:
    digest = hashlib.blake2b(f"{role} {text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _header(count: int, width: int) -> bytes:
    """Return what precedes the numbers in the safetensors format."""
    end = 2 * count * width
    described = {
        "vectors": {"dtype": "F16", "shape": [count, width], "data_offsets": [0, end]},
        "keys": {"dtype": "I64", "shape": [count], "data_offsets": [end, end + 8 * count]},
    }
    text = json.dumps(described)
    padded = text + " " * (-len(text) % 8)
    return struct.pack("<Q", len(padded)) + padded.encode()
