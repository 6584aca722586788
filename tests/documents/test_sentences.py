import pytest
from hypothesis import given
from hypothesis import strategies as st

from m3rag.documents import sentences, statements


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One here. Two here! Three?", ["One here.", "Two here!", "Three?"]),
        ("我们去吧。他说：“好！”然后走了。", ["我们去吧。", "他说：“好！”", "然后走了。"]),
        ("真的吗?我不信!好", ["真的吗?", "我不信!", "好"]),
        ("土です。水です。", ["土です。", "水です。"]),
        ("यह एक वाक्य है। यह दूसरा है॥", ["यह एक वाक्य है।", "यह दूसरा है॥"]),
        ("هل هذا سؤال؟ نعم، هو.", ["هل هذا سؤال؟", "نعم، هو."]),
        ("یہ ایک جملہ ہے۔ یہ دوسرا ہے۔", ["یہ ایک جملہ ہے۔", "یہ دوسرا ہے۔"]),
        ("Սա մեկ է։ Սա երկու։", ["Սա մեկ է։", "Սա երկու։"]),
        ("ይህ አንድ ነው። ይህ ሁለት።", ["ይህ አንድ ነው።", "ይህ ሁለት።"]),
        ("하나입니다. 둘입니다.", ["하나입니다.", "둘입니다."]),
    ],
)
def test_every_script_has_its_full_stop(text, expected):
    assert cut(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Pi is 3.14 or so",
        "It costs 1.000.000 today",
        "See www.example.org/a.html now",
        "Dr. Smith met J. Doe",
        "Am 3. Oktober war es so",
        "Plants, e.g. Ferns, grow",
        '"Really?" he said',
        "wait...what",
    ],
)
def test_a_dot_inside_a_sentence_does_not_end_it(text):
    assert cut(text) == [text]


def test_closing_quotes_and_brackets_belong_to_the_sentence():
    assert cut('He said "Stop." (She left.) Then') == ['He said "Stop."', "(She left.)", "Then"]


def test_a_blank_line_ends_a_sentence():
    assert cut("No stop here\n\nNext") == ["No stop here", "Next"]


def test_a_full_line_continues_in_the_next_one():
    text = "This line was broken because it was full and then\nit went on. Here."
    assert cut(text) == [text[:-6], "Here."]


def test_a_line_with_room_left_was_ended_on_purpose():
    assert cut("Introduction\nThis is a much longer line of text.")[0] == "Introduction"


@pytest.mark.parametrize(
    "text",
    [
        "The pump runs\nfor thirty seconds and then it\nstops again.",
        "Tap water leaves lime on the leaves\nand in the pipes, which no pump survives for\nlong.",
        "Die Pumpe läuft\nund hört nach dreißig Sekunden wieder auf, weil\nder Boden feucht ist.",
        "Насос работает\nтридцать секунд, а потом снова останавливается.",
        "See the manual of the\nRaspberry Pi for more about its pins and its power.",
        "Am besten ist der\nSchatten im Norden des Hauses, wo es kühl bleibt.",
        "In spring,\nFerns and mosses are watered more often than in winter.",
    ],
)
def test_a_sentence_goes_on_in_a_line_that_starts_with_a_small_letter(text):
    assert cut(text) == [text]


def test_a_list_after_a_colon_is_no_wrapped_line():
    text = "Needed:\nwater, light and a soil that is loose"
    assert cut(text) == text.split("\n")


def test_list_items_table_rows_and_code_lines_stand_alone():
    text = "- a b\n- c d\n\n| x | y |\n| 1 | 2 |\n\n```\nx = 1\ny = 2\n```"
    rows = ["- a b", "- c d", "| x | y |", "| 1 | 2 |", "```", "x = 1", "y = 2", "```"]
    assert cut(text) == rows


@given(st.text(alphabet=st.sampled_from("ab.!?。 \n\t\"')|-#`1A،।\u3000…"), max_size=80))
def test_spans_ascend_and_cover_everything_but_white_space(text):
    covered = 0
    for start, end in sentences(text):
        assert covered <= start < end
        assert text[start:end] == text[start:end].strip()
        assert not text[covered:start].strip()
        covered = end
    assert not text[covered:].strip()


# Sentences that say something


def said(text: str, *titles: str) -> list[str]:
    return [text[start:end] for start, end in statements(text, titles)]


@pytest.mark.parametrize(
    "text",
    [
        "## इंटरनेट ऑफ थिंग्स क्या है?\n\nWater it.",
        "When are they watered?\n====\n\nWater it.",
        "# One\n\n## Two\n\n---\n\nWater it.",
        "[When are they watered?](water.md)\n\nWater it.",
        "- [When?](a.md)\n- ![When?](a.png)\n- Water it.",
        "[[Watering]]\n\n<https://example.org/when-are-they-watered>\n\nWater it.",
        "```python\nWater it.\n```",
        "|---|---|\nWater it.",
        "---\ntitle: When are they watered?\ntags: [water]\n---\n\nWater it.",
        "+++\ntitle = 'When?'\n+++\nWater it.",
        "import Tabs from '@theme/Tabs';\n\n<Tabs id='when'>\n\nWater it.\n\n</Tabs>",
    ],
)
def test_headings_links_and_rules_say_nothing(text):
    assert [s.removeprefix("- ") for s in said(text)] == ["Water it."]


def test_a_line_that_is_a_known_title_says_nothing():
    assert said("1. When is it watered?\n\nAt noon.", "1. When is it watered") == ["At noon."]


def test_a_link_in_a_sentence_says_something():
    text = "See [the manual](a.md) for more."
    assert said(text) == [text]


def test_a_text_of_headings_only_keeps_them():
    assert said("# When?") == ["# When?"]
