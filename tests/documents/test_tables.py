"""Tables with a header: each passage that continues one has its header beside its text."""

import random

import pytest

from m3rag import Document, split
from m3rag.documents.tables import tables

HEADER = "| Plant | Litres per week | Light |"
NAMES = [f"{name} {n}" for n in range(8) for name in ("Fern", "Moss", "Ivy", "Aloe", "Fig")]
ROWS = [f"| {name} | {n + 3} | half shade |" for n, name in enumerate(NAMES)]
MARKDOWN = "\n".join([HEADER, "|---|---:|---|", *ROWS])
TEXT = f"# Garden\n\nThe plan:\n\n{MARKDOWN}\n\nThen it rains. | is a bar.\n"


def found(text):
    return [(table.header, text[table.start : table.end]) for table in tables(text)]


def test_the_header_of_a_table():
    body = "| Fern | 3 |\n| Moss | 5 |"
    for top, header in (
        ("| Plant | Water |\n|:--|--:|", "| Plant | Water |"),  # Markdown
        ("| Plant | Water |", "| Plant | Water |"),  # as readers write tables
        ("| Plant | 2024 | 2025 |", "| Plant | 2024 | 2025 |"),
        ("| Plan of the garden | |\n| Plant | Water |", "| Plant | Water |"),
        ("+----+----+\n| Plant | Water |\n+====+====+", "| Plant | Water |"),
        ("| Plant | Water |\n|       | in l  |\n|--+--|", "| Plant | Water |\n|       | in l  |"),
    ):
        assert found(f"Plan:\n\n{top}\n{body}\n\nEnd") == [(header, body)]
    for text in ("| 1 | 2 |\n| 3 | 4 |", "| | |\n|--|--|\n| 3 | 4 |", "| a | b |", "|--|\n|--|"):
        assert found(text) == []
    assert found(f"```\n| a | b |\n{body}\n```") == []
    two = f"{body}\n\n| a | b |\n| c | d |"  # from the middle of a table, whose header is known
    assert [(table.header, table.start) for table in tables(two, "| H |")] == [
        ("| H |", 0),
        ("| a | b |", two.index("| c")),
    ]


@pytest.mark.parametrize("limit", [40, 64, 100])
def test_passages_that_continue_a_table_have_its_header(tiny, limit):
    document = Document("plan.md", TEXT)
    passages = split(document, tiny.tokenizer, max_tokens=limit)
    body = TEXT.index(ROWS[0])
    for passage in passages:
        assert document.text[passage.start : passage.end] == passage.text
        inside = body <= passage.start < TEXT.index("\n\nThen")
        assert passage.table_header == (HEADER if inside else "")
        assert len(tiny.tokenizer.ids([passage.full_text])[0]) + 2 <= limit
        assert not passage.text.endswith("---|")  # no header ends a passage
    lines = [line for passage in passages for line in passage.text.split("\n")]
    assert [line for line in lines if line in ROWS] == ROWS  # each row is whole, and there once
    wide = Document("w", TEXT.replace("Litres", "Litres " * 90))
    assert {passage.table_header for passage in split(wide, tiny.tokenizer, max_tokens=limit)} == {
        ""
    }


def test_any_tables_are_split_exactly(tiny):
    numbers = random.Random(19)
    parts = [*ROWS[:3], HEADER, "|--|--|", "", "word " * 40, f"| {'long cell ' * 20}|", "ﷺ" * 9]
    for limit in (16, 24, 60) * 8:
        text = "\n".join(numbers.choices(parts, k=30))
        for passage in split(Document("d", text), tiny.tokenizer, max_tokens=limit):
            assert text[passage.start : passage.end] == passage.text
            assert len(tiny.tokenizer.ids([passage.full_text])[0]) + 2 <= limit
