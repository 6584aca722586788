"""Values of other types in metadata and filters: their JSON form, in every store."""

import datetime as dt
import enum
import json
import uuid
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest

from m3rag import M3Index, Passage
from m3rag.documents import as_passage
from m3rag.values import json_form


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Text(str):
    def __str__(self):
        return "something else"


UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")
UTC = dt.UTC
FORMS = [
    (dt.datetime(2026, 3, 1, 10, 30), "2026-03-01T10:30:00"),
    (dt.datetime(2026, 3, 1, 10, 30, 0, 5, UTC), "2026-03-01T10:30:00.000005+00:00"),
    (dt.date(2026, 3, 1), "2026-03-01"),
    (dt.time(10, 30), "10:30:00"),
    (UUID, "12345678-1234-5678-1234-567812345678"),
    (Path("a") / "b.md", "a/b.md"),
    (PureWindowsPath("a\\b.md"), "a/b.md"),
    (Colour.RED, "red"),
    (Level.HIGH, 3),
    (np.int64(3), 3),
    (np.uint8(3), 3),
    (np.float32(0.5), 0.5),
    (np.float64(0.1), 0.1),
    (np.longdouble(0.5), 0.5),
    (np.bool_(True), True),
    (np.str_("a"), "a"),
    (np.array(3), 3),
    (np.datetime64("2026-03-01"), "2026-03-01T00:00:00"),
    (np.datetime64("2026-03-01T10:30:00", "ns"), "2026-03-01T10:30:00"),
    (Text("a"), "a"),
]


@pytest.mark.parametrize(("value", "form"), FORMS, ids=[repr(v) for v, _ in FORMS])
def test_the_json_form(value, form):
    found = json_form(value)
    assert found == form
    assert type(found) is type(form)
    [listed] = as_passage(Passage("p", "x", {"v": [value]})).metadata["v"]
    assert json.dumps(listed) == json.dumps(form)


@pytest.mark.parametrize("value", [None, True, 0, 0.5, "a"])
def test_json_stays_as_it_is(value):
    assert json_form(value) is value


@pytest.mark.parametrize("value", [np.zeros(2), np.datetime64("NaT"), b"x", {1}, 1j, object()])
def test_what_has_no_json_form_stays_as_it_is(value):
    assert json_form(value) is value


@pytest.mark.parametrize("folder", [False, True], ids=["memory", "folder"])
def test_they_come_back_and_are_found(folder, tmp_path, tiny):
    with M3Index.open(tmp_path / "kb" if folder else None, model=tiny) as index:
        index.add([Passage(f"p{i}", "x", {"v": value}) for i, (value, _) in enumerate(FORMS)])
        for i, (value, form) in enumerate(FORMS):
            assert index.get([f"p{i}"])[0].metadata == {"v": form}
            assert index.count({"v": value}) == index.count({"v": form}) >= 1, value
            assert index.count({"v": [value]}) == index.count({"v": form}), value
            assert index.search("x", filter={"v": value, "id": f"p{i}"}), value
