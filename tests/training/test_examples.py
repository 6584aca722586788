"""Training data: all kinds of lines, all compressions, all errors."""

import gzip
import json

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from m3rag.errors import InputError
from m3rag.files import lines, written
from m3rag.training.example import Example, parse
from m3rag.training.examples import Examples
from tests.training.conftest import write

PAIR = {"query": "What is a fern?", "pos": ["A plant."], "neg": ["A bird.", "A car."]}
PARALLEL = {"t": {"en": "water", "es": "agua", "de": "Wasser"}, "s": "words"}
SECTION = {"q": {"en": "Ferns", "es": "Helechos"}, "p": {"de": "Farne mögen Schatten."}, "key": 7}


def test_kinds_of_lines():
    assert parse(json.dumps(PAIR)) == Example(
        ("What is a fern?",), ("A plant.",), ("A bird.", "A car.")
    )
    words, languages = ("water", "agua", "Wasser"), ("en", "es", "de")
    assert parse(json.dumps(PARALLEL)) == Example(
        words, words, translated=True, source="words",
        query_languages=languages, positive_languages=languages,
    )  # fmt: skip
    assert parse(json.dumps({"texts": PARALLEL["t"]})).queries == words
    section = parse(json.dumps(SECTION))
    assert section.queries == ("Ferns", "Helechos")
    assert section.positives == ("Farne mögen Schatten.",)
    assert (section.key, section.translated) == ("7", False)


@pytest.mark.parametrize(
    ("prompt", "query"), [({}, "why"), ({"prompt": None}, "why"), ({"prompt": "ask: "}, "ask: why")]
)
def test_a_missing_prompt_is_empty(prompt, query):
    assert parse(json.dumps({"query": "why", "pos": ["so"], **prompt})).queries == (query,)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Not valid JSON"),
        ("[1]", "Expected a JSON object, got list"),
        ("{}", "the line has no fields"),
        ('{"text": "a"}', "the line has 'text'"),
        ('{"query": "a"}', '"pos" is missing or empty'),
        ('{"query": "a", "pos": []}', '"pos" is missing or empty'),
        ('{"query": "a", "pos": "b"}', "list of texts, got str"),
        ('{"query": " ", "pos": ["b"]}', '"query" must be a text'),
        ('{"query": "a", "pos": ["b", 3]}', r'"pos\[1\]" must be a text'),
        ('{"query": "a", "pos": ["b"], "pos_scores": [1, 2]}', "must have 1 numbers"),
        ('{"query": "a", "pos": ["b"], "pos_scores": [true]}', "must have 1 numbers"),
        ('{"query": "a", "pos": ["b"], "neg": ["c"], "pos_scores": [1]}', "Only one of"),
        ('{"t": {"en": "a"}}', "at least two languages"),
        (
            '{"q": {}, "p": {"en": "a"}}',
            '"q" must be a non-empty object of languages and texts, got {}',
        ),
    ],
)
def test_bad_lines_name_file_and_number(line, message, tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps(PAIR) + "\n\n" + line + "\n")
    with pytest.raises(InputError, match=rf"bad\.jsonl, line 3: .*{message}"):
        Examples([path])


def test_compressed_files_hold_the_same_examples(tmp_path):
    rows = [PAIR, PARALLEL, SECTION]
    plain = write(tmp_path / "a.jsonl", rows)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(plain.read_bytes()))
    read = [Examples([tmp_path / f"a.jsonl{end}"]) for end in ("", ".gz", ".zst")]
    assert len({examples.digest for examples in read}) == 1
    for examples in read:
        assert list(examples) == [parse(json.dumps(row)) for row in rows]
    both = Examples([plain, plain])
    assert (len(both), both[5]) == (6, both[2])
    assert both.sources.tolist() == [0, 1, 0, 0, 1, 0]


@pytest.mark.parametrize("end", ["", ".gz", ".zst"])
def test_written_lines_are_read(tmp_path, end):
    path = tmp_path / f"out.jsonl{end}"
    with written(path) as file:
        file.write("uno\nдва\n".encode())
    assert list(lines(path)) == [b"uno\n", "два\n".encode()]
    with pytest.raises(KeyError), written(path) as file:
        raise KeyError
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert len(list(lines(path))) == 2


def test_nothing_to_read(tmp_path):
    with pytest.raises(InputError, match="no training examples in an empty list of files"):
        Examples([])
    with pytest.raises(InputError, match=r"There are no training examples in .*empty\.jsonl"):
        Examples([write(tmp_path / "empty.jsonl", [])])
    with pytest.raises(InputError, match=r"There is no file .*other\.jsonl"):
        Examples([tmp_path / "other.jsonl"])
    for end in ("gz", "zst"):
        damaged = tmp_path / f"a.jsonl.{end}"
        damaged.write_bytes(b"not packed at all")
        with pytest.raises(InputError, match="cannot be read"):
            Examples([damaged])


@given(
    languages=st.integers(2, 5),
    negatives=st.integers(0, 9),
    group_size=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_drawn_groups(languages, negatives, group_size, seed):
    wrong = tuple(f"n{i}" for i in range(negatives))
    texts = tuple(f"t{i}" for i in range(languages))
    rng = np.random.default_rng(seed)
    group = Example(texts, texts, wrong, translated=True).draw(rng, group_size)
    assert group.query != group.passages[0]
    assert {group.query, group.passages[0]} <= group.answers == set(texts)
    assert len(set(group.passages)) == len(group.passages) == 1 + min(negatives, group_size - 1)
    scored = Example(
        ("q",), texts, wrong, False, tuple(range(languages)), tuple(range(10, 10 + negatives))
    )
    group = scored.draw(rng, group_size)
    names = {f"t{i}": i for i in range(languages)} | {f"n{i}": 10 + i for i in range(negatives)}
    assert group.scores == tuple(names[passage] for passage in group.passages)


def test_languages_can_be_chosen():
    rng = np.random.default_rng(0)
    section, words, pair = (parse(json.dumps(row)) for row in (SECTION, PARALLEL, PAIR))
    assert section.languages() == {("en", "de"), ("es", "de")}
    assert ("en", "es") in words.languages()
    assert ("en", "en") not in words.languages()
    assert pair.languages() == {("", "")}
    for _ in range(9):
        assert section.draw(rng, 1, ("es", "de")).query == "Helechos"
        group = words.draw(rng, 1, ("de", "en"))
        assert (group.query, group.passages) == ("Wasser", ("water",))
        assert len(pair.draw(rng, 3, ("", "")).passages) == 3


HOSTILE = [
    '{"query": ' + "[" * 100_000,
    '{"query": "a", "pos": ["b"], "pos_scores": [' + "9" * 5_000 + "]}",
    '{"query": "a", "pos": ["b"], "pos_scores": [' + "9" * 400 + "]}",
    '{"query": "a", "pos": ["b"], "pos_scores": [NaN]}',
    r'{"query": "half \ud800", "pos": ["b"]}',
    '{"query": "a", "pos": ["b"], "key": [[]]}',
    '{"t": {"' + "k" * 10_000 + '": 1, "de": "b"}}',
    "{" + ", ".join(f'"field{i}": 1' for i in range(10_000)) + "}",
    '{"query": "a\0", "pos": ["b"]}',
]


@pytest.mark.parametrize("line", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_line(tmp_path, line):
    path = tmp_path / "bad.jsonl"
    path.write_text(line)
    with pytest.raises(InputError, match=r"bad\.jsonl, line 1: ") as caught:
        Examples([path])
    assert len(str(caught.value)) < 600


def test_a_line_that_is_not_utf_8(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'{"query": "\xff"}')
    with pytest.raises(InputError, match=r"bad\.jsonl, line 1: .*utf-8"):
        Examples([path])
