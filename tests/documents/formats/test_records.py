"""Rows and records: .csv, .tsv, .xlsx, .xls, .ods, .json and .jsonl files."""

import datetime
import io
import json
import time
import zipfile

import odfdo
import pytest
import xlsxwriter

from m3rag.documents import Fields, read, split
from m3rag.errors import DocumentError
from m3rag.limits import Limits
from tests.documents.conftest import assert_whole
from tests.documents.formats.conftest import SCRIPTS, assert_survives, refuses, titles
from tests.trials.document_mutations import with_parts

ROWS = [["Script", "Sentence"], *([script, sentence] for script, sentence in SCRIPTS.items())]
READ = "\n\n".join(f"Script: {script}\nSentence: {text}" for script, text in SCRIPTS.items())


def workbook(sheets) -> bytes:
    data = io.BytesIO()
    book = xlsxwriter.Workbook(data, {"in_memory": True, "default_date_format": "yyyy-mm-dd"})
    for name, rows in sheets.items():
        sheet = book.add_worksheet(name)
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)
    book.close()
    return data.getvalue()


# Spreadsheets


def test_each_row_of_a_sheet_has_its_header(write, tokenizer):
    data = workbook({"Watering": [["All times are local."], [], *ROWS], "Soil": [["pH", 7]]})
    document = read(write("a.xlsx", data))
    assert document.text == f"Watering\n\nAll times are local.\n\n{READ}\n\nSoil\n\n| pH | 7 |"
    assert titles(document) == [(1, "Watering"), (1, "Soil")]
    assert "title" not in document.metadata
    passages = split(document, tokenizer, max_tokens=40)
    assert_whole(document, passages, tokenizer, 40)
    assert all("Sentence: " in p.text for p in passages if p.headings == ("Watering",))


def test_values_are_written_as_people_write_them(write):
    day, moment = datetime.date(2026, 3, 1), datetime.datetime(2026, 3, 1, 14, 30)
    rows = [["day", "at", "litres", "share", "wet", "big"], [day, moment, 12.0, 0.125, True, 1e18]]
    assert read(write("a.xlsx", workbook({"A": rows}))).text == (
        "day: 2026-03-01\nat: 2026-03-01 14:30:00\nlitres: 12\nshare: 0.125\nwet: true\nbig: 1e+18"
    )


def test_years_may_be_a_header_and_numbers_are_none(write):
    years = workbook({"A": [["Plant", 2024, 2025], ["Fern", 1, 2]]})
    assert read(write("a.xlsx", years)).text == "Plant: Fern\n2024: 1\n2025: 2"
    numbers = workbook({"A": [["Fern", 1, 2.5], ["Moss", 3, None]]})
    assert read(write("b.xlsx", numbers)).text == "| Fern | 1 | 2.5 |\n| Moss | 3 |  |"


def test_an_opendocument_sheet_is_read(write):
    book = odfdo.Document("spreadsheet")
    book.body.clear()
    table = odfdo.Table("Blatt")
    for row in ROWS:
        line = odfdo.Row()
        line.set_values(row)
        table.append_row(line)
    book.body.append(table)
    data = io.BytesIO()
    book.save(data)
    assert read(write("a.ods", data.getvalue())).text == READ


def test_a_spreadsheet_is_bounded(write):
    data = workbook({"A": [["a", "b"], *([f"x{i}", "y" * 90] for i in range(2_000))]})
    with pytest.raises(DocumentError, match=r"more than 50,000 characters"):
        read(write("a.xlsx", data), limits=Limits(text_characters=50_000))
    far = io.BytesIO()
    book = xlsxwriter.Workbook(far)
    book.add_worksheet().write(1_048_575, 16_383, "far away")
    book.worksheets()[0].write(0, 0, "here")
    book.close()
    refuses(write("b.xlsx", far.getvalue()), "more than the limit of .* bytes of memory")
    assert read(write("c.csv", "a,b\n1x,2")).text == "a: 1x\nb: 2"


def test_a_bomb_in_a_spreadsheet_is_not_expanded(write):
    data = workbook({"A": [["a", "b"], ["x", "y"]]})
    bomb = with_parts(
        data, lambda part: part.replace(b"<sheetData>", b"<sheetData>" + b" " * 20_000_000)
    )
    refuses(write("a.xlsx", bomb), "times its size")
    with zipfile.ZipFile(io.BytesIO(bomb)) as archive:
        size = archive.getinfo("xl/worksheets/sheet1.xml").file_size
    lie = bomb.replace(size.to_bytes(4, "little"), (100).to_bytes(4, "little"))
    refuses(write("b.xlsx", lie), "damaged archive")


def test_damaged_and_encrypted_spreadsheets_are_refused(write):
    assert_survives(workbook({"A": ROWS}), ".xlsx", least=15)
    locked = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + "EncryptedPackage".encode("utf-16-le")
    )
    refuses(write("a.xlsx", locked), "encrypted")


# CSV


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
def test_the_delimiter_is_found(write, name, delimiter):
    lines = (delimiter.join(f'"{cell}"' for cell in row) for row in ROWS)
    assert read(write(name, "\ufeff" + "\r\n".join(lines))).text == READ


def test_a_file_may_name_its_delimiter(write):
    lines = ("~".join(f'"{cell}"' for cell in row) for row in ROWS)
    assert read(write("a.csv", "\ufeffsep=~\r\n" + "\r\n".join(lines))).text == READ


def test_cells_may_have_lines_quotes_and_delimiters(write):
    text = 'name,says\nFern,"one, ""two""\nthree"\nMoss,\n'
    assert read(write("a.csv", text)).text == 'name: Fern\nsays: one, "two"\nthree\n\nname: Moss'


def test_a_header_without_rows_is_read(write):
    assert read(write("a.csv", "Fern,Moss\n")).text == "| Fern | Moss |"


def test_a_single_column_is_a_list(write):
    assert read(write("a.csv", "Fern\nMoss\nOak\n")).text == "Fern\nMoss\nOak"


def test_a_large_table_takes_linear_time(write):
    line = ",".join(["cell"] * 8)
    text = ",".join("abcdefgh") + "\n" + f"{line}\n" * 50_000
    start = time.perf_counter()
    assert len(read(write("a.csv", text)).text) > 3_000_000
    assert time.perf_counter() - start < 6


def test_named_columns_are_the_text(write):
    path = write("a.csv", "id,body,hits\n7,Moss is green.,3\n8,Ferns like shade.,4\n")
    document = read(path, fields=Fields(("body",), "id"))
    assert document.text == "7\n\nMoss is green.\n\n8\n\nFerns like shade."
    assert titles(document) == [(1, "7"), (1, "8")]
    with pytest.raises(
        DocumentError, match=r"2 records has text in 'text'; its fields are 'id', 'bo"
    ):
        read(path, fields=Fields(("text",)))
    with pytest.raises(DocumentError, match="no header"):
        read(write("b.csv", "1,2\n3,4\n"), fields=Fields(("body",)))


# JSON


RECORDS = [{"id": script, "doc": {"body": text}, "n": 1.50} for script, text in SCRIPTS.items()]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", json.dumps(RECORDS)),
        ("a.json", json.dumps({"data": RECORDS}, ensure_ascii=False)),
        ("a.jsonl", "\n".join(map(json.dumps, RECORDS)) + "\n"),
        ("a.ndjson", "\n".join(map(json.dumps, RECORDS))),
    ],
)
def test_records_are_read_whole_or_by_field(write, name, text):
    path = write(name, text)
    parts = (f"id: {s}\ndoc.body: {t}\nn: 1.5" for s, t in SCRIPTS.items())
    assert read(path).text == "\n\n".join(parts)
    document = read(path, fields=Fields(("doc.body",), "id"))
    assert document.text == "\n\n".join(f"{s}\n\n{t}" for s, t in SCRIPTS.items())
    assert titles(document) == [(1, script) for script in SCRIPTS]
    with pytest.raises(DocumentError, match=r"'body'; its fields are 'id', 'doc\.body', 'n'"):
        read(path, fields=Fields(("body",)))


def test_values_in_lists_and_objects_have_their_path(write):
    value = {"a": [1, "two", None, True], "b": [{"c": "x"}, {"c": "y"}], "d": {}, "big": 10**40}
    assert read(write("a.json", json.dumps({"one": value}))).text == (
        f"one.a: 1, two, true\none.b.c: x\none.b.c: y\none.big: {10**40}"
    )


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ('{"a": 1,}', "line 1 is not JSON"),
        ('{"a": 1}\n{"a": \n', "line 2 is not JSON"),
        ('{"a"\n: "b}', "line 2 is not JSON"),
        ("[" * 200_000, "nested too deep|not JSON"),
        ("{}", "no text"),
    ],
)
def test_what_is_no_json_is_refused(write, text, match):
    refuses(write("a.json", text), match)
