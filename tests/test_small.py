"""What the model "small" is for: an index in many languages, searched in others."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from m3rag import M3Index, M3Model, Passage
from m3rag.encoding import CHANNELS
from m3rag.evaluation import measure, read_set, score

pytest.importorskip("m3rag_small", reason="the model small is not installed")

# A passage of each subject, each in another language.
PASSAGES = {
    "pump": "La bomba riega las plantas cuando el sensor indica que el suelo está seco.",
    "bread": "Für den Teig verknetet man Mehl, Wasser, Hefe und Salz und lässt ihn ruhen.",
    "tax": "Налоговая декларация подаётся до тридцатого апреля следующего года.",
    "flight": "飛行機は悪天候のため三時間遅れて出発しました。",
    "heart": "القلب يضخ الدم إلى جميع أنحاء الجسم عبر الشرايين.",
    "school": "बच्चे सुबह आठ बजे स्कूल जाते हैं और दोपहर को घर लौटते हैं।",
    "volcano": "지진이 일어난 뒤 화산이 폭발하여 마을이 재로 덮였다.",
    "library": "ห้องสมุดเปิดให้ยืมหนังสือได้ครั้งละห้าเล่มเป็นเวลาสองสัปดาห์",
    "chess": "En échecs, la partie se termine quand le roi ne peut plus échapper à la prise.",
    "moon": "月球绕地球公转一周大约需要二十七天。",
    "price": "Η τιμή του ελαιολάδου αυξήθηκε φέτος επειδή έβρεξε λίγο.",
    "battery": "Pin của điện thoại này dùng được hai ngày sau mỗi lần sạc.",
}
# Questions in a language other than that of the answer.
QUESTIONS = [
    ("pump", "What waters the plants when the soil is dry?"),
    ("pump", "土壌が乾いたとき、何が植物に水をやりますか?"),
    ("bread", "¿Cómo se prepara la masa del pan?"),
    ("bread", "पाव का आटा कैसे बनाया जाता है?"),
    ("tax", "When must the tax return be filed?"),
    ("tax", "什么时候必须提交纳税申报表?"),
    ("flight", "Почему самолёт вылетел с опозданием?"),
    ("flight", "Why was the plane late?"),
    ("heart", "Welches Organ pumpt das Blut durch den Körper?"),
    ("heart", "हृदय क्या करता है?"),
    ("school", "At what time do the children go to school?"),
    ("school", "Во сколько дети идут в школу?"),
    ("volcano", "What happened to the village after the earthquake?"),
    ("volcano", "¿Qué cubrió el pueblo después de la erupción?"),
    ("library", "How many books can I borrow, and for how long?"),
    ("library", "Combien de livres peut-on emprunter ?"),
    ("chess", "Wann ist eine Schachpartie zu Ende?"),
    ("chess", "체스는 언제 끝나나요?"),
    ("moon", "How long does the Moon take to orbit the Earth?"),
    ("moon", "كم يستغرق دوران القمر حول الأرض؟"),
    ("price", "Why has olive oil become more expensive?"),
    ("price", "Почему подорожало оливковое масло?"),
    ("battery", "How long does the phone run on one charge?"),
    ("battery", "电池充一次电能用多久?"),
]


@pytest.fixture(scope="module")
def small():
    with M3Model.load("small", dtype="float32") as model:
        yield model


def test_questions_find_answers_in_other_languages_and_scripts(small):
    with M3Index.open(model=small) as index:
        index.add(Passage(name, text) for name, text in PASSAGES.items())
        answers = index.search_many([question for _, question in QUESTIONS], k=3)
    found = [[hit.passage.id for hit in hits] for hits in answers]
    first = [ids[0] == name for (name, _), ids in zip(QUESTIONS, found, strict=True)]
    assert sum(first) >= 22  # of 24; "tiny" has 17
    assert all(name in ids for (name, _), ids in zip(QUESTIONS, found, strict=True))


def test_the_questions_share_no_word_with_their_answers():
    """Checks the data above: an edit could make the task easy."""

    def script(text):
        return unicodedata.name(next(c for c in text if c.isalpha())).split()[0]

    assert len({script(text) for text in PASSAGES.values()}) >= 8
    assert len({script(text) for _, text in QUESTIONS}) >= 6
    for name, question in QUESTIONS:
        words = {word.strip("?¿.,").lower() for word in question.split()}
        assert not words & {word.strip(".,").lower() for word in PASSAGES[name].split()}


def test_the_default_fusion_is_as_good_as_every_view(small):
    scores = score(small, read_set(Path(__file__).parent / "evaluation" / "data"))
    report = measure(scores, weights=["default"])
    for table in (report.same, report.cross, report.channels):
        for view in CHANNELS:
            assert table["default"]["ndcg@10"] >= table[view]["ndcg@10"] - 0.005, view


def test_unrelated_passages_have_low_dense_scores(small):
    corpus = read_set(Path(__file__).parent / "evaluation" / "data").corpus
    dense = small.encode([document.text for document in corpus]).dense
    subjects = np.array([document.id.rsplit("-", 1)[0] for document in corpus])
    unrelated = subjects[:, None] != subjects[None, :]
    assert np.median(np.abs((dense @ dense.T)[unrelated])) <= 0.15
