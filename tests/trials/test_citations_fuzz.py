"""The check of citations against its plainest form, and the time that it takes."""

import random
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st

from m3rag.answers.citations import check
from m3rag.errors import AnswerError, M3Error
from m3rag.limits import Limits
from tests.trials.citations_oracle import expected
from tests.trials.record import SEED, record

PASSAGES = [
    "A fern likes shade.\n\nWater it   twice a week, and never\nat noon.",
    "Los helechos prefieren la sombra.",
    "蕨类植物喜欢阴凉。",
]
PIECES = [
    *("[", "]", "【", "】", "［", "］", "[1]", "[2]", "[9]", "[1, 2]", "[2-5]", "[3–1]", "[[9]9]"),
    *(" ", "  ", "\t", "\n", "\n\n", "\u3000", "\x85", "\x00", "\u2028", "\ufffd"),
    *(".", "。", "…", "...", "! ", "? ", ",", ";", "、", "-", "–", "1", "2", "9", "0", "१", "１"),
    *('"', "“", "”", "„", "«", "»", "「", "」", "『", "』", "'", "(", ")", "```", "| a |", "# "),
    *("likes shade", "Water it", "twice a week.", "喜欢阴凉", "prefieren", "a", "B", "Dr. ", "- x"),
]
answers = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
    st.text(alphabet='[]0123 ,-.【】"“”„«»aé\n…', max_size=80),
    st.text(max_size=60),
)


def same(text):
    found = check(text, PASSAGES)
    quotes = [(quote.text, quote.numbers, quote.found) for quote in found.quotes]
    assert (found.text, found.cited, found.removed, quotes) == expected(text, PASSAGES)
    again = check(found.text, PASSAGES)
    assert (again.text, again.cited, again.removed) == (found.text, found.cited, ())


@given(answers)
def test_it_finds_what_the_plainest_form_finds(text):
    same(text)


def steps(call):
    """Return how many lines and calls of Python a call runs."""
    count = 0

    def trace(*_):
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return count


REPEATED = [
    *(" ", "\t", "\n", " [9]", "[1]", "[9]", "[1, 2]", "[1-3]", "[1-99]", "[", "]", "[1", "1]"),
    *("[1,", "1,", "1 ", "9", "[[9]9]", "[ ", "“", "”", "„", "«", "»", "「", "『", '"', '"a\n'),
    *('"a" ', '“likes shade” [1]. ', "“a”", "„a“ [2] ", "…", "a…", "A. ", "A.\n", "- a\n", "```\n"),
    *("! (", "A.[1]\n", "“x\n\n", "(…)", "a", "| a |\n", "# a\n", "१", "喜。"),
]  # fmt: skip


@pytest.mark.parametrize("unit", REPEATED)
def test_the_steps_grow_with_the_length_and_not_with_its_square(unit):
    few, many = (steps(lambda n=n: check(unit * n + " [1]", PASSAGES)) for n in (200, 1_600))
    assert many < 8 * few * 1.6 + 2_000


NESTED = {
    "brackets": lambda n: "[" * n + "9" + "]9" * (n - 1) + "]",
    "open brackets": lambda n: "[" * n + "]" * n,
    "quotations": lambda n: "“" * n + "”" * n,
    "spaces": lambda n: "x" + " " * n + "y",
    "digits": lambda n: f"see [{'9' * n}]",
    "zeros": lambda n: f"see [{'0' * n}1]",
    "one quotation": lambda n: f"“{'likes … ' * n}” [1]",
    "different quotations": lambda n: "".join(f"“likes {i}” [1][2]. " for i in range(n // 10)),
    "different numbers": lambda n: "".join(f"[{i}]" for i in range(n // 5)),
    "different ranges": lambda n: "".join(f"[{i}-{i + 98}]" for i in range(0, n * 10, 99)),
}


@pytest.mark.parametrize("shape", NESTED)
def test_the_steps_of_nested_text_grow_with_its_length(shape):
    few, many = (steps(lambda n=n: check(NESTED[shape](n), PASSAGES)) for n in (200, 1_600))
    assert many < 8 * few * 1.6 + 2_000


@pytest.mark.parametrize("unit", [" ", "“", "[1", '"a\n', "9", "“a…", "\t"])
def test_regular_expressions_take_no_quadratic_time(unit):
    """What runs inside `re` has no steps to count: quadratic time would be hours, not seconds."""
    text = "x" + unit * (900_000 // len(unit)) + "y"
    start = time.process_time()
    check(text, PASSAGES)
    assert time.process_time() - start < 30


def test_a_number_of_thousands_of_digits():
    found = check(f"Shade [{'0' * 5_000}1][{'9' * 5_000}][{'１' * 700}].", PASSAGES)
    assert (found.text, found.cited) == ("Shade [1].", (1,))
    assert found.removed == (999_999_999_999_999_999,)


def test_ranges_do_not_fill_the_memory():
    found = check("".join(f"[{i}-{i + 98}]" for i in range(1, 3_000_000, 99)), PASSAGES)
    assert found.cited == (1, 2, 3)
    assert len(found.removed) < 200_000
    many = ["x"] * 1_000
    assert len(check("[1-99]" * 100_000, many).text) < 2_000_000


def test_too_much_is_refused():
    with pytest.raises(AnswerError, match=r"has 8,000,000 characters.* limit of 1,000,000"):
        check("x" * 8_000_000, PASSAGES)
    with pytest.raises(AnswerError, match="has 6 characters"):
        check("Shade.", PASSAGES, Limits(answer_characters=5))
    quotes = "".join(f"“{number}” [1]. " for number in range(5_000))
    with pytest.raises(AnswerError, match="too many quotations"):
        check(quotes, ["x" * 1_000_000])
    assert len(check(quotes, PASSAGES).quotes) == 5_000


@pytest.mark.trial
@pytest.mark.timeout(600)
def test_many_answers():
    tried = 0

    @seeded(SEED)
    @settings(
        max_examples=8_000, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(answers)
    def compare(text):
        nonlocal tried
        same(text)
        tried += 1

    compare()
    record("citations: fuzzing against the plainest form", tried=tried)


@pytest.mark.trial
@pytest.mark.timeout(600)
def test_long_answers_end_in_seconds():
    """Random repetitions of random pieces, hundreds of thousands of characters long."""
    chance = random.Random(SEED)
    passages = ["likes shade " * 500, "x " * 5_000, "喜欢阴凉"]
    slow, raw, wrong = [], [], []
    for _ in range(30):
        unit = "".join(chance.choices(PIECES, k=chance.randint(1, 5)))
        other = "".join(chance.choices(PIECES, k=chance.randint(0, 3)))
        text = unit * (200_000 // len(unit)) + other * (200_000 // max(1, len(other)))
        start = time.process_time()
        try:
            found = check(text, passages)
            wrong += [unit] if not set(found.cited) <= {1, 2, 3} else []
        except M3Error:
            pass
        except Exception as error:
            raw.append((unit, other, repr(error)))
        if time.process_time() - start > 15:
            slow.append((unit, other))
    note = str(slow + raw + wrong)
    record(
        "citations: long answers",
        tried=30,
        wrong=len(wrong),
        hung=len(slow),
        raw=len(raw),
        note="" if note == "[]" else note,
    )
