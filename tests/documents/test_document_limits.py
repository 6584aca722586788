"""What a passage may hold: every store keeps it, or an error says why not."""

import collections
import datetime
import decimal
import enum
import json
import sys
import time
import types
from typing import Any

import numpy as np
import pytest

from m3rag.documents import Passage, as_passage, check_passage
from m3rag.errors import InputError
from m3rag.limits import DEFAULT_LIMITS, Limits, brief, check_count, check_text, shown


def nested(depth, kind="list"):
    value: Any = 1
    for _ in range(depth):
        value = {"list": [value], "dict": {"k": value}, "tuple": (value,)}[kind]
    return value


def itself():
    found: dict[str, Any] = {"a": []}
    found["a"].append(found)
    return found


def doubled(levels):
    """Return a list that stands for 2**levels values."""
    found: list[Any] = ["x"]
    for _ in range(levels):
        found = [found, found]
    return found


def objects(value):
    found = np.empty(2, object)
    found[0] = value
    return found


def kind_of(value):
    return type(value).__name__


class Shape(enum.Enum):
    SQUARE = object()


@pytest.mark.parametrize("kind", ["list", "dict", "tuple"])
def test_the_deepest_metadata(kind):
    most = DEFAULT_LIMITS.metadata_depth
    as_passage(Passage("p", "x", {"v": nested(most, kind)}))
    for depth in (most + 1, 130, 100_000):
        with pytest.raises(InputError, match=r"Passage 'p' .* more than 32 deep .*metadata_depth"):
            as_passage(Passage("p", "x", {"v": nested(depth, kind)}))
    with pytest.raises(InputError, match="more than 2 deep"):
        as_passage(Passage("p", "x", {"v": nested(3, kind)}), Limits(metadata_depth=2))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (itself(), "nested more than 32 deep"),
        ({"v": doubled(30)}, r"metadata takes more than 1,048,576 bytes"),
        ({"v": "x" * (1 << 20)}, r"metadata takes 1,048,58\d bytes"),
        ({"v": "\0" * 200_000}, r"metadata takes 1,200,009 bytes"),
        ({"v": ["ü" * 100] * 6_000}, r"metadata takes 1,224,\d+ bytes"),
        ({"v": [1] * 600_000}, "metadata takes more than"),
        ({f"k{i}": i for i in range(200_000)}, "metadata takes"),
        ({"k" * 513: 1}, r"a key in its metadata has 513 characters.*key_characters"),
        ({"a": {"k" * 513: 1}}, r"a key in its metadata\['a'\] has 513"),
        ({1: 2}, r"a key in its metadata is not a string, but 1 of type int, in metadata\."),
        (
            {"a": {None: 2}},
            r"a key .* is not a string, but None of type NoneType, in metadata\['a'\]",
        ),
        ({("a",): 2}, "of type tuple"),
        ({"n": float("nan")}, r"metadata\['n'\] is nan"),
        ({"n": [0, float("-inf")]}, r"metadata\['n'\]\[1\] is -inf"),
        ({"n": 10**309}, "digits, but numbers must be finite"),
        ({"n": -(10**4_000)}, "about 4,001 digits"),
        ({"n": 10**5_000}, "about 5,001 digits"),
        ({"n": np.float64("nan")}, r"metadata\['n'\] is nan"),
        ({"n": {"m": np.complex64(1)}}, r"metadata\['n'\]\['m'\] is of type numpy.complex64"),
        ({"n": np.zeros(3)}, "numpy.ndarray"),
        ({"n": np.datetime64("NaT")}, "numpy.datetime64"),
        ({"n": Shape.SQUARE}, "type object"),
        ({"n": datetime.timedelta(1)}, "datetime.timedelta"),
        ({"n": decimal.Decimal("1.5")}, "decimal.Decimal"),
        ({"n": b"bytes"}, "type bytes"),
        ({"n": {1, 2}}, "type set"),
        ({"n": 1j}, "type complex"),
        ({"n": object()}, "metadata must be JSON"),
        ({"n": collections.OrderedDict(a=1)}, "OrderedDict"),
        ({"n": "\ud800"}, r"metadata\['n'\] is not valid Unicode: character 0"),
        ({"n": ["ok", "half \udc00"]}, r"metadata\['n'\]\[1\] is not valid Unicode: character 5"),
        ({"\udfff": 1}, "a key in its metadata is not valid Unicode"),
        (["a"], "metadata must be a dict"),
        (None, "metadata must be a dict"),
        ("text", "metadata must be a dict"),
    ],
    ids=kind_of,
)
def test_metadata_that_is_refused(metadata, message):
    for check in (as_passage, check_passage):
        with pytest.raises(InputError, match=message) as caught:
            check(Passage("p", "x", metadata))
        assert len(str(caught.value)) < 1_000
        assert str(caught.value).startswith("Passage 'p' cannot be stored: ")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": "i" * 8_193}, "its id has 8,193 characters"),
        ({"id": "half \ud800"}, "its id is not valid Unicode"),
        ({"text": "half \ud800"}, "its text is not valid Unicode"),
        ({"document_id": "d" * 8_193}, "its document_id has 8,193"),
        ({"document_id": 7}, "document_id must be a string or None, got 7"),
        ({"document_id": "\ud800"}, "its document_id is not"),
        ({"start": -1}, "start must be None or an integer from 0"),
        ({"start": True}, "start must be"),
        ({"start": 1.0}, "start must be"),
        ({"end": 1 << 63}, "end must be"),
        ({"end": 10**5_000}, "end must be"),
        ({"end": np.int64(3)}, "end must be"),
        ({"headings": "Plants"}, "headings must be a tuple of strings"),
        ({"headings": (1,)}, "headings must be a tuple of strings"),
        ({"headings": None}, "headings must be a tuple of strings"),
        ({"headings": ("\ud800",)}, "one of its headings is not valid"),
        ({"headings": ("h" * (1 << 20), "more")}, "one of its headings has 4 characters"),
    ],
    ids=kind_of,
)
def test_fields_that_are_refused(fields, message):
    with pytest.raises(InputError, match=message) as caught:
        as_passage(Passage(**{"id": "p", "text": "x", **fields}))
    assert len(str(caught.value)) < 1_000


def test_a_text_beyond_the_limit():
    with pytest.raises(InputError, match=r"its text has 11 characters, and the limit is 10"):
        as_passage("x" * 11, Limits(text_characters=10))


def test_what_fits():
    metadata = {
        "": None,
        "k" * 512: [True, False, 0, -0.0, sys.float_info.max, 5e-324, int(sys.float_info.max)],
        "big": [2**53 + 1, 2**64, -(2**70)],
        "text": "\0\n\u2028🌱",
        "deep": {"a": [{"b": {}}, []]},
    }
    passage = Passage("p", "\0", metadata, "", 0, (1 << 63) - 1, ("", "🌱"))
    found = as_passage(passage)
    assert found == passage
    assert json.dumps(found.metadata) == json.dumps(metadata)
    assert as_passage(Passage("p", "x", types.MappingProxyType({"a": 1}))).metadata == {"a": 1}


def test_tuples_become_lists_and_nothing_is_shared():
    tags = ["a"]
    metadata: dict[str, Any] = {"pair": (1, (2, "b")), "tags": tags, "in": {"t": ()}}
    found = as_passage(Passage("p", "x", metadata, headings=["A"]))
    expected = {"pair": [1, [2, "b"]], "tags": ["a"], "in": {"t": []}}
    assert json.dumps(found.metadata) == json.dumps(expected)
    assert type(found.metadata["pair"]) is list
    assert found.headings == ("A",)
    tags.append("later")
    metadata["more"] = 1
    assert found.metadata == expected


def test_subclasses_of_str_become_strings():
    found = as_passage(
        Passage(np.str_("p"), np.str_("x"), {}, np.str_("d"), headings=(np.str_("h"),))
    )
    assert found == Passage("p", "x", {}, "d", headings=("h",))
    assert {type(v) for v in (found.id, found.text, found.document_id, *found.headings)} == {str}


def test_the_checks_take_little_time():
    """10,000 passages of 1,100 characters took 0.10 s before the checks and take 0.10 s now."""
    metadata = {"source": "docs/a.md", "stamp": "0123456789abcdef", "page": 3, "tags": ["a", "ü"]}
    passages = [Passage(f"p{i}", "The farmer. " * 90, metadata) for i in range(10_000)]
    start = time.process_time()
    for passage in passages:
        as_passage(passage)
    assert time.process_time() - start < 2


def test_refusing_takes_little_time():
    start = time.process_time()
    for value in (doubled(31), nested(100_000), itself()):
        with pytest.raises(InputError):
            as_passage(Passage("p", "x", {"v": value}))
    assert time.process_time() - start < 5


@pytest.mark.parametrize("name", ["metadata_depth", "answer_seconds", "results"])
@pytest.mark.parametrize("value", [0, -1, True, "3", float("nan"), float("inf"), None, 0.5])
def test_limits_are_numbers(name, value):
    with pytest.raises(InputError, match=f"The limit `{name}` must be"):
        Limits(**{name: value})


def test_only_seconds_have_decimals():
    assert Limits(answer_seconds=1.5).answer_seconds == 1.5
    with pytest.raises(InputError, match="must be an integer"):
        Limits(results=1.5)


@pytest.mark.parametrize("value", [0, -1, 1.0, True, None, "3", np.int64(3)])
def test_counts_are_integers(value):
    with pytest.raises(InputError, match="`n` must be an integer of at least 1"):
        check_count("n", value)


@pytest.mark.parametrize("value", [1_000_001, 10**21, 10**5_000], ids=kind_of)
def test_counts_have_a_limit(value):
    with pytest.raises(InputError, match="`n` must be at most 1,000,000, got"):
        check_count("n", value)
    assert check_count("n", 0, least=0) == 0
    assert check_count("n", 7, most=7) == 7


def test_texts():
    check_text("It", "ü🌱", 2, "query_characters")
    with pytest.raises(InputError, match=r"It has 3 characters, and the limit is 2 \(Limits\.x\)"):
        check_text("It", "abc", 2, "x")


class Unprintable:
    def __repr__(self):
        raise RecursionError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\nb", r"'a\nb'"),
        ("\ud800", r"'\ud800'"),
        (b"\0", r"b'\x00'"),
        (10**5_000, "an integer of about 5,001 digits"),
        (True, "True"),
        ([1, (2,), {3}, {"k": [4]}], "[1, (2,), {3}, {'k': [4]}]"),
        (nested(100_000), "[[[[…]]]]"),
        (Unprintable(), "<Unprintable>"),
        (collections.deque([1]), "<deque>"),
        (Passage("p", "x"), "Passage(id='p', text='x', metadata={}, document_id=None"),
        (set(), "set()"),
        ({}, "{}"),
    ],
    ids=kind_of,
)
def test_a_value_in_a_message(value, text):
    assert shown(value).startswith(text)


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**7,
        "\0" * 10**6,
        ["y" * 300] * 50,
        {f"k{i}": "v" * 100 for i in range(1_000)},
        doubled(60),
        itself(),
        np.zeros((300, 300)),
        objects(doubled(60)),
        [Passage("p" * 1_000, "x" * 1_000)] * 100,
        collections.UserDict(itself()),
        Exception("z" * 10_000),
    ],
    ids=kind_of,
)
def test_a_value_in_a_message_is_short(value):
    start = time.process_time()
    for most in (40, 200):
        text = shown(value, most)
        assert len(text) <= most + 61
        assert "\n" not in text
    assert time.process_time() - start < 2


def test_a_message_in_a_message():
    assert brief("one\n  two\t3") == "one two 3"
    assert len(brief("x" * 10**6)) == 201
