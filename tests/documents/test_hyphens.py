import time

import pytest

from m3rag.documents.pdf.hyphens import join_words, words_of


def joined(text: str, more: str = "") -> str:
    return join_words(text, words_of([text, more]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("soil infor-\nmation here", "soil information\nhere"),
        ("soil infor\x02mation here", "soil information\nhere"),
        ("a mixed-\nmode pump", "a mixed-mode\npump"),
        ("a well\x02known pump", "a well-known\npump"),
        ("a self\x02ish pump", "a selfish\npump"),
        ("it real-\nized so", "it realized\nso"),
        ("Feuchtig-\nkeit im Boden", "Feuchtigkeit\nim Boden"),
        ("der Soll-\nWert", "der Soll-Wert"),
        ("die E-\nMail", "die E-Mail"),
        ("Vor-\nund Nachteile", "Vor-\nund Nachteile"),
        ("INFOR-\nMATION", "INFORMATION"),
        ("COVID-\n19", "COVID-19"),
        ("peut-\nêtre ici", "peut-être\nici"),
        ("donne-t-\nil ici", "donne-t-il\nici"),
        ("кто-\nто здесь", "кто-то\nздесь"),
        ("по-\nрусски", "по-русски"),
        ("дого-\nвор", "договор"),
        ("con-\nnec-\ntion", "connection"),
        ("soft\u00adhyphen, re\u00ad\nal", "softhyphen, real"),
        ("a - b -\nc", "a - b -\nc"),
    ],
)
def test_words_at_the_end_of_a_line(text, expected):
    assert joined(text) == expected


def test_the_other_words_of_the_document_decide():
    text = "the re-\ncover and micro-\ncontroller"
    assert joined(text) == "the recover\nand microcontroller"
    assert joined(text, "A re-cover, a micro-controller.") == "the re-cover\nand micro-controller"
    assert joined("the soil-\nmoisture", "The soil and its moisture.") == "the soil-moisture"
    assert joined("the soil-\nmoisture", "soil moisture soilmoisture") == "the soilmoisture"


def test_a_long_text_takes_linear_time():
    text = "word-\nword " * 50_000 + "a" * 1_000_000 + "-\n" + "b" * 1_000_000
    start = time.process_time()
    assert joined(text).count("\n") == 50_000
    assert time.process_time() - start < 5  # 0.4 s when nothing else runs
