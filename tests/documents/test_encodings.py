import pytest

from m3rag.documents import read
from m3rag.documents.decoding import decoded
from m3rag.documents.encodings import known_encoding, unmarked_utf_16
from m3rag.errors import DocumentError, IncompleteDocumentWarning, InputError
from m3rag.limits import DEFAULT_LIMITS

RUSSIAN = "Растения поливают, когда почва сухая. Насос работает тридцать секунд."


# A named encoding


@pytest.mark.parametrize("name", ["windows-1251", "cp1251", "x-cp1251"])
def test_a_file_is_read_in_the_encoding_that_the_caller_names(write, name):
    path = write("a.txt", RUSSIAN.encode("cp1251"))
    assert read(path, encoding=name).text == RUSSIAN


def test_a_named_encoding_does_not_change_files_that_say_what_they_are(write):
    text = "Größe 土"
    assert read(write("a.md", text.encode()), encoding="cp1251").text == text
    assert read(write("b.txt", text.encode("utf-16")), encoding="cp1251").text == text
    page = b'<meta charset="windows-1252"><p>Gr\xf6\xdfe'
    assert read(write("c.html", page), encoding="cp1251").text == "Größe"


def test_a_named_encoding_reaches_large_files_in_the_parser_process(write):
    path = write("a.md", RUSSIAN.encode("koi8-r") * 2_000)
    assert read(path, encoding="koi8-r").text == RUSSIAN * 2_000


def test_an_unknown_encoding_is_refused(write):
    with pytest.raises(InputError, match="The encoding 'klingon' is unknown"):
        read(write("a.txt", b"x"), encoding="klingon")
    assert known_encoding("unicode_escape") is None


# Proposals


@pytest.mark.parametrize(
    ("text", "codec"),
    [
        (RUSSIAN, "cp1251"),
        ("Τα φυτά ποτίζονται όταν το έδαφος είναι ξηρό. Η αντλία λειτουργεί.", "cp1253"),
        ("土が乾いたら植物に水をやります。ポンプは三十秒動きます。" * 2, "cp932"),
        ("土壤干燥时给植物浇水。水泵运行三十秒，然后停止。" * 2, "gb18030"),
        ("ปั๊มทำงานสามสิบวินาทีเมื่อดินแห้ง", "cp874"),
    ],
)
def test_the_error_proposes_what_reads_well(write, text, codec):
    with pytest.raises(DocumentError, match=r"is not UTF-8\. As .* it reads \"") as caught:
        read(write("a.txt", text.encode(codec)))
    name = str(caught.value).partition("--encoding ")[2].split()[0]
    assert text.encode(codec).decode(name) == text
    assert text[:20] in str(caught.value)  # as it is written, with its marks


def test_the_place_of_the_byte_counts_from_the_start_of_the_file(write):
    with pytest.raises(DocumentError, match="byte 5 is not UTF-8"):
        read(write("a.txt", b"\xef\xbb\xbfab\xff"))


# UTF-16 without a byte order mark


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf_16_needs_no_mark(write, codec):
    text = "The pump runs.\r\nDie Pumpe läuft für 30 Sekunden. 土"
    document = read(write("a.txt", text.encode(codec)))
    assert document.text == text.replace("\r\n", "\n")


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["最初\n\n水をやります。", "الري في البيت الزجاجي", RUSSIAN])
def test_a_single_space_shows_utf_16(write, codec, text):
    assert read(write("a.txt", text.encode(codec))).text == text


@pytest.mark.parametrize(
    "data",
    [b"", b"a\0", b"ELF\0\1\2", b"\0\0\0\0", bytes(100), b"ab" * 50, b"\1\0\2\3" * 9,
     "\ue000 \ue001".encode("utf-16-le") * 9, b"\0\xd8a\0" * 9, b"abc\0def\0\0ghi binary \1\2"],
)  # fmt: skip
def test_other_files_with_nuls_are_no_utf_16(data):
    assert unmarked_utf_16(data) is None


# Pages


def test_a_page_that_declares_the_wrong_encoding_is_utf_8_if_it_can_be():
    data = "Größe 土".encode()
    assert decoded(data, "cp932", None, DEFAULT_LIMITS) == ("Größe 土", ())


def test_a_few_wrong_bytes_of_a_page_become_replacement_characters(write):
    text = "土壤干燥时给植物浇水。".encode("gb18030")
    data = b'<meta charset="gb2312"><p>' + text * 9 + b"\xff x"
    with pytest.warns(IncompleteDocumentWarning, match="1 characters are not GB18030"):
        document = read(write("a.html", data))
    assert "浇水。\ufffd x" in document.text


def test_a_page_of_another_encoding_is_refused():
    with pytest.raises(DocumentError, match="is not GB18030"):
        decoded(b"\xff\xfd\x80" * 50, "gb18030", None, DEFAULT_LIMITS)
