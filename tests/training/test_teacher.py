"""A teacher's vectors: files of them, checks, and what a student learns from them."""

from functools import partial

import numpy as np
import pytest
from safetensors.numpy import save_file

from m3rag.errors import InputError
from m3rag.training import Task, VectorTeacher, train, write_teacher_vectors
from m3rag.training.teacher import VectorFile, unit_vectors
from tests.training.conftest import write

pytestmark = pytest.mark.filterwarnings("ignore::m3rag.errors.TruncationWarning")
ROWS = [{"query": "What is a fern?", "pos": ["A plant."], "neg": ["A bird.", "A plant."]}]
WORDS = [{"t": {"en": "water", "es": "agua", "de": "Wasser"}}]


class Letters:
    """A teacher whose vectors count letters; those of queries also have a mark."""

    def __init__(self):
        self.asked = []

    def queries(self, texts, /):
        self.asked += texts
        return self._count(texts, 5.0)

    def passages(self, texts, /):
        self.asked += texts
        return self._count(texts, 0.0)

    def _count(self, texts, mark):
        return np.array([[mark, *(text.count(letter) for letter in "aetr")] for text in texts])


def test_a_file_returns_what_the_teacher_returned(tmp_path):
    teacher: VectorTeacher = Letters()
    data = [
        Task(write(tmp_path / "pairs.jsonl", ROWS)),
        Task(write(tmp_path / "words.jsonl", WORDS), symmetric=True),
        Task(write(tmp_path / "other.jsonl", WORDS), teacher_vectors_weight=0.0),
    ]
    to, reports = tmp_path / "vectors.safetensors", []
    count = write_teacher_vectors(teacher, data, to, progress=lambda *r: reports.append(r))
    assert count == len(teacher.asked) == 6  # each text once; "A plant." is twice in the data
    assert reports == [("texts", 6, 6)]
    file = VectorFile(to)
    for role in ("queries", "passages"):
        texts = {"queries": ["agua", "What is a fern?"], "passages": ["A bird.", "A plant."]}[role]
        expected = unit_vectors(getattr(teacher, role)(texts), 2)
        np.testing.assert_allclose(getattr(file, role)(texts), expected, atol=1e-3)
    with pytest.raises(InputError, match=r"has no vector for the query 'A plant\.'"):
        file.queries(["agua", "A plant."])
    with pytest.raises(InputError, match="has no vector for the passage 'water'"):
        train(data[1].files, tmp_path / "m3", model="tiny", teacher_vectors=to)


def test_files_of_other_things(tmp_path):
    def wrong(message, tensors):
        save_file(tensors, tmp_path / "a.safetensors")
        with pytest.raises(InputError, match=message):
            VectorFile(tmp_path / "a.safetensors")

    keys, vectors = np.arange(3), np.zeros((3, 4), np.float16)
    wrong(
        "is not a file of teacher vectors: it has .*float32",
        {"keys": keys, "vectors": vectors.astype(np.float32)},
    )
    wrong("is not a file of teacher vectors", {"keys": keys[:2], "vectors": vectors})
    wrong("is not a file of teacher vectors", {"weight": vectors})
    (tmp_path / "a.safetensors").write_bytes(b"\x08")
    with pytest.raises(InputError, match="cannot be read"):
        VectorFile(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"other\.safetensors"):
        VectorFile(tmp_path / "other.safetensors")


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.zeros(3), r"an array of shape \(3,\) for 3 texts; it must be \(3, d\)"),
        (np.zeros((2, 4)), r"an array of shape \(2, 4\) for 3 texts"),
        (np.full((3, 4), np.nan), "a vector with NaN or infinity"),
    ],
)
def test_a_teacher_that_returns_something_else(vectors, message):
    with pytest.raises(InputError, match=message):
        unit_vectors(vectors, 3)
    assert not unit_vectors(np.zeros((3, 4)), 3).any()  # a zero vector stays one


def test_data_of_no_kind(tmp_path):
    with pytest.raises(InputError, match="an empty list of files"):
        write_teacher_vectors(Letters(), [], tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"a\.jsonl is a file among tasks"):
        write_teacher_vectors(Letters(), ["a.jsonl", Task("b.jsonl")], tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_student_learns_the_teachers_scores(pairs, rows, quick, tmp_path):
    """A teacher that only sees the last letter of a text teaches what nothing else would."""

    class Last:
        def queries(self, texts, /):
            return np.eye(7)[[len(text) % 7 for text in texts]]

        passages = queries

    def collect(steps, report):
        steps.append(dict(report.progress.losses))

    settings = quick(
        max_steps=16, learning_rate=1e-3, teacher_vectors_weight=50.0, freeze=("embeddings",)
    )
    write_teacher_vectors(Last(), pairs, tmp_path / "vectors.safetensors")
    found = {}
    for name, teacher in (
        ("without", None),
        ("model", Last()),
        ("file", tmp_path / "vectors.safetensors"),
    ):
        steps: list[dict[str, float]] = []
        train(
            pairs, tmp_path / name, model="tiny", settings=settings, teacher_vectors=teacher,
            on_step=partial(collect, steps),
        )  # fmt: skip
        found[name] = steps
    assert "teacher_vectors" not in found["without"][0]
    taught = [losses["teacher_vectors"] for losses in found["model"]]
    assert np.mean(taught[-4:]) < 0.9 * np.mean(taught[:4])
    np.testing.assert_allclose(
        taught, [losses["teacher_vectors"] for losses in found["file"]], rtol=1e-3
    )
