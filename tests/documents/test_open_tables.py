"""Tables without rules in a PDF: what is one, and the lists and columns of prose that are none."""

import time
from collections.abc import Iterable

import pytest

from m3rag.documents.formats.pdf import parse
from tests.documents.pdf_writer import pdf_of

Piece = tuple[str, float, float]


def text_of(*pieces: Piece) -> str:
    """Return the text of a page of pieces, each with the place where it starts, in this order."""
    return parse(page(pieces)).text


def page(pieces: Iterable[Piece]) -> bytes:
    return pdf_of("".join(f"BT /F1 12 Tf {x} {y} Td ({text}) Tj ET\n" for text, x, y in pieces))


def rows(*lines: tuple[tuple[str, float], ...], step: float = 16) -> list[Piece]:
    """Return the pieces of lines, each below the one before."""
    return [(text, x, 700 - step * i) for i, line in enumerate(lines) for text, x in line]


def test_rows_of_a_table_without_rules_are_lines_with_empty_cells():
    before = ("The plants and what they need, by the gardener who waters them all", 50)
    after = ("Those without a number need none.", 50)
    table = (
        (("Plant", 62), ("Water", 150), ("Light", 250)),
        (("Fern", 50), ("shade", 228)),
        (("Cactus", 50), ("10 ml", 156), ("full sun all day", 228)),
        (("Moss", 50), ("9 ml", 162), ("half shade", 228)),
    )
    assert text_of(*rows((before,), *table, (after,))) == (
        f"{before[0]}\n| Plant | Water | Light |\n| Fern |  | shade |\n"
        f"| Cactus | 10 ml | full sun all day |\n| Moss | 9 ml | half shade |\n{after[0]}"
    )


def test_a_column_may_be_numbers_that_end_at_one_margin():
    table = [
        (("fern", 50), ("12", 236.7)),
        (("moss", 50), ("7", 243.3)),
        (("palm", 50), ("130", 230)),
    ]
    assert text_of(*rows(*table)) == "| fern | 12 |\n| moss | 7 |\n| palm | 130 |"


LEFT = ("the pump runs for thirty", "seconds and stops then so", "that no soil gets too wet")
RIGHT = ("every fern likes the shade", "and every moss the wet of", "a place without much light")


@pytest.mark.parametrize(
    "pieces",
    [
        [*rows(*(((text, 50),) for text in LEFT)), *rows(*(((text, 250),) for text in RIGHT))],
        rows(*(((a, 50), (b, 250)) for a, b in zip(LEFT, RIGHT, strict=True))),
        [*rows((("Ana", 50),), (("Road 5", 50),), (("Rome", 50),)),
         *rows((("Bob", 250),), (("Street 7", 250),), (("Oslo", 250),))],
        rows((("1.", 50), ("Fern", 90)), (("2.", 50), ("Moss", 90)), (("3.", 50), ("Palm", 90))),
        rows((("-", 50), ("Fern", 90)), (("-", 50), ("Moss", 90)), (("-", 50), ("Palm", 90))),
        rows((("the", 50), ("pump", 106.7), ("runs", 176.7)), (("and", 50), ("stops", 171.3)),
             (("so", 50), ("that", 112.3), ("soil", 182)), (("gets", 50), ("water", 170.7))),
        rows((("Soil . . . . . . .", 50), ("1", 250)), (("Water . . . . . .", 50), ("7", 250)),
             (("Light . . . . . .", 50), ("9", 250))),
        rows((("Fern", 50), ("shade", 150)), (("Palm", 50), ("sun", 150))),
        rows((("Fern", 50), ("shade", 150)), (("Palm", 50), ("sun", 163)),
             (("Ivy", 50), ("x", 152)), (("Moss", 50), ("any", 160))),
    ],
    ids=["columns", "columns by line", "addresses", "numbers", "bullets", "justified", "leaders",
         "two rows", "no common edge"],
)  # fmt: skip
def test_columns_of_prose_and_lists_are_no_tables(pieces):
    text = text_of(*pieces)
    assert "|" not in text
    assert text.split() == " ".join(piece[0] for piece in pieces).split()


def test_a_page_of_many_odd_rows_takes_little_time():
    lines = [(("a", 50), ("b", 100 + 7 * (i % 9)), ("c", 200 + 7 * (i % 5))) for i in range(190)]
    wide = [tuple(("7", 16.0 * x) for x in range(100))] * 3
    odd, broad = page(rows(*lines, step=3.5)), page(rows(*wide))
    started = time.process_time()
    assert "|" not in parse(odd).text + parse(broad).text
    assert time.process_time() - started < 2
