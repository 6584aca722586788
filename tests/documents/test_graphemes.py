import pytest

from m3rag.documents.graphemes import tears


@pytest.mark.parametrize(
    "character",
    [
        "e\u0301",
        "👩🏽",
        "👩\u200d🌾",
        "🇪🇸",
        "1\ufe0f\u20e3",
        "\u1112\u1161\u11ab",
        "क्ष",
        "กำ",
        "เก",
        "ｶﾞ",
        "\r\n",
    ],
)
def test_a_visible_character_is_not_split(character):
    assert all(tears(character, at) for at in range(1, len(character)))


@pytest.mark.parametrize("text", ["ab", "é植", "植物", "👩👩", "🇪🇸🇫🇷"])
def test_a_cut_between_visible_characters_is_allowed(text):
    assert not tears(text, len(text) // 2)
