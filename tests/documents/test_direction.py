import pytest

from m3rag.documents.pdf.direction import Piece, lines_in_order, plain_forms


def read(*drawn: str, exact: bool = False) -> list[str]:
    """Return lines in logical order, given as they look from left to right."""
    lines = []
    for line in drawn:
        pieces = [Piece(c, 6 * i, 6 * i + 6, exact) for i, c in enumerate(line) if c != " "]
        lines.append((pieces, 12.0))
    return lines_in_order(lines)


@pytest.mark.parametrize(
    ("drawn", "logical"),
    [
        ("םולש", "שלום"),
        ("םלוע םולש", "שלום עולם"),
        (".30 ןומש", "שמון 30."),
        ("30% ךרעב", "בערך 30%"),  # in Hebrew, the sign is a part of the number
        ("%25.5 ﺔﺑﺮﺗ", "ﺗﺮﺑﺔ 25.5%"),  # in Arabic, it is not
        ("2024/05/12 ﻲﻓ", "ﻓﻲ 2024/05/12"),
        ("12:30 העש", "שעה 12:30"),
        ("An English םולש line", "An English שלום line"),
        ("plain text 12", "plain text 12"),
    ],
)
def test_the_order_of_a_line(drawn, logical):
    assert read(drawn) == [logical]


def test_the_page_decides_about_a_line_that_starts_and_ends_differently():
    hebrew, english = "םיחמצה תא םיקשמ יתמ", "When are the plants watered?"
    assert read("IoT Hub ואר", hebrew)[0] == "ראו IoT Hub"
    assert read("Windows 11 ואר", hebrew)[0] == "ראו Windows 11"
    assert read("IoT Hub ואר", english)[0] == "IoT Hub ראו"


def test_a_line_between_words_of_its_script_is_of_it_however_long_its_latin_part_is():
    hebrew = "םיחמצה תא םיקשמ יתמ"
    assert read(".חותפ https://example.org/a?b=c לאודה", hebrew)[0] == (
        "הדואל https://example.org/a?b=c פתוח."
    )


def test_a_line_of_latin_words_may_end_a_sentence_that_reads_from_right_to_left():
    assert read("ילכב ןייע", "    .v2.1")[1] == "v2.1."
    assert read("ילכב ןייע", ".git")[1] == ".git"  # it starts on the left


def test_paragraphs_that_start_on_the_left_end_on_the_right():
    drawn = (
        "1. הנכה",
        "• ןושאר",
        "• ינש",
        "רשאכ ESP-32 דדומ",
        ",םינטקמ תחפ",
        ".הבאשמה תא 5%-מ",
        "ףוסה.",
    )
    assert read(*drawn) == [
        "1. הכנה", "• ראשון", "• שני", "כאשר ESP-32 מודד", "פחת מקטנים,", "מ-5% את המשאבה.",
        "הסוף.",
    ]  # fmt: skip
    assert read("English םע.", "םולש")[0] == "English עם."


def test_brackets_are_stored_as_they_are_or_as_they_look():
    assert read("(תחא) הז", "םש (םש)") == ["זה (אחת)", "(שם) שם"]
    assert read(")תחא( הז", "םש )םש(") == ["זה (אחת)", "(שם) שם"]


def test_brackets_that_the_file_spells_out_stay():
    assert read(")תחא( הז", exact=True) == ["זה (אחת)"]


def test_brackets_of_a_latin_line_stay():
    assert read("f(x) of םולש here", "(תחא)")[0] == "f(x) of שלום here"


def test_a_mark_follows_its_letter():
    pieces = [Piece("ﺖ", 0, 6), Piece("\u064f", 1, 4), Piece("ﺏ", 6, 12)]
    assert lines_in_order([(pieces, 12.0)]) == ["ﺏﺖ\u064f"]
    assert lines_in_order([([Piece("\u064f", 0, 1)], 12.0)]) == ["\u064f"]


def test_wide_gaps_are_spaces():
    pieces = [Piece("א", 0, 6), Piece("ב", 10, 16), Piece("ג", 16, 22)]
    assert lines_in_order([(pieces, 12.0)]) == ["גב א"]


@pytest.mark.parametrize(
    ("form", "plain"), [("ﻻ", "لا"), ("ﬁ", "fi"), ("ﭏ", "אל"), ("ﹸ", "\u064f"), ("ﷲ", "الله")]
)
def test_joined_forms_are_letters(form, plain):
    assert plain_forms(form) == plain
