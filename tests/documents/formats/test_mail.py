"""Mail, mailboxes, Outlook messages and archives: files with files in them."""

import io
import mailbox
import struct
import zipfile
from email.message import EmailMessage
from email.policy import SMTP

import pytest

from m3rag import M3Index
from m3rag.documents import read, read_all
from m3rag.documents.formats.content import Budget
from m3rag.documents.formats.registry import by_suffix
from m3rag.documents.unpacking import unpack
from m3rag.errors import DocumentError
from m3rag.index.sync import sync
from m3rag.limits import Limits
from tests.documents.formats.compound_file import compound_file
from tests.documents.formats.conftest import SCRIPTS, assert_survives, refuses, titles


def mail(subject="Watering", text="The pump runs at six.\n") -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = "Ana Müller <ana@example.org>"
    message["To"] = "Bo <bo@example.org>, טל <tal@example.org>"
    message["Date"] = "Sun, 01 Mar 2026 08:00:00 +0100"
    message["Subject"] = subject
    message.set_content(text)
    return message


def attached(message, name, data):
    message.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    return message


def texts(documents):
    return {document.id.partition("/")[2]: document.text for document in documents}


def zipped(files) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


# Mail


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_mail_has_its_subject_text_and_headers(write, script):
    document = read(write("a.eml", mail(script, SCRIPTS[script] + "\n\nAna\n").as_bytes()))
    assert document.text == f"{script}\n\n{SCRIPTS[script]}\n\nAna"
    assert titles(document) == [(1, script)]
    assert document.metadata["title"] == script
    assert document.metadata["from"] == "Ana Müller <ana@example.org>"
    assert document.metadata["to"] == "Bo <bo@example.org>, טל <tal@example.org>"
    assert document.metadata["date"] == "2026-03-01T08:00:00+01:00"


def test_of_two_forms_of_a_text_the_plain_one_is_read(write):
    message = mail()
    message.add_alternative("<p>The <b>pump</b> runs at six.</p>", subtype="html")
    assert read(write("a.eml", message.as_bytes())).text == "Watering\n\nThe pump runs at six."
    message = mail(text=" \n")
    message.add_alternative("<h2>Plan</h2><p>At six.</p>", subtype="html")
    document = read(write("b.eml", message.as_bytes()))
    assert document.text == "Watering\n\nPlan\n\nAt six."
    assert titles(document) == [(1, "Watering"), (2, "Plan")]


def test_attachments_are_documents(write):
    inner = attached(mail("Inner", "Moss."), "deep.txt", SCRIPTS["Thai"].encode())
    message = attached(mail(), "план.md", b"# Plan\n\nWater.\n")
    message.add_attachment(inner)
    attached(message, "photo.png", b"\x89PNG")
    attached(message, "../../etc/plan.md", b"# Other\n")
    attached(message, "plan.md", b"one")
    attached(message, "plan.md", b"two")
    documents = read_all(write("a.eml", message.as_bytes()), id="m/a.eml")
    assert texts(documents) == {
        "a.eml": "Watering\n\nThe pump runs at six.",
        "a.eml/план.md": "# Plan\n\nWater.\n",
        "a.eml/Inner.eml": "Inner\n\nMoss.",
        "a.eml/Inner.eml/deep.txt": SCRIPTS["Thai"],
        "a.eml/etc/plan.md": "# Other\n",
        "a.eml/plan.md": "one",
        "a.eml/plan (2).md": "two",
    }
    assert documents[1].metadata["source"].endswith("a.eml/план.md")


def test_headers_and_texts_in_wrong_encodings_are_read(write):
    raw = (
        b"From: =?x-unknown?q?Ana?= <a@b.c>\r\nTo: J\xf6rg <j@b.c>\r\nDate: yesterday\r\n"
        + "Subject: Grüße\r\nContent-Type: text/plain; charset=nonsense\r\n\r\n".encode()
        + "Olá\r\n\r\nmundo".encode("cp1252")
    )
    document = read(write("a.eml", raw))
    assert document.text == "Grüße\n\nOlá\n\nmundo"
    assert "date" not in document.metadata
    cjk = b"Subject: a\r\nContent-Type: text/plain; charset=gb2312\r\n\r\n" + "植物".encode(
        "gb2312"
    )
    assert read(write("b.eml", cjk)).text == "a\n\n植物"


def test_headers_texts_and_attachments_are_in_the_encoding_that_the_mail_declares(write):
    text = "Subject: 灌溉\nFrom: 王 <w@x>\nContent-Type: text/plain; charset=gb2312\n\n水泵，喆"
    document = read(write("a.eml", text.encode("gb18030") + b"\xff"))
    assert document.text == "灌溉\n\n水泵，喆\ufffd"
    assert document.metadata["from"] == "王 <w@x>"
    mail = EmailMessage()
    for number, content in enumerate(("Насос".encode("cp1251"), "Насос".encode())):
        mail.add_attachment(content, "text", "plain", filename=f"{number}.txt")
        mail.get_payload(number).set_param("charset", "windows-1251")
    assert [part.text for part in read_all(write("b.eml", mail.as_bytes()))] == ["Насос"] * 2


def test_damaged_and_endless_headers_stop_nothing(write):
    raw = b"Subject: =?utf-8?b?A?=\nTo: " + b"=?utf-8?q?a?= " * 100_000 + b"\n\nMoss"
    assert read(write("a.eml", raw)).text == "=?utf-8?b?A?=\n\nMoss"


def test_flowed_paragraphs_are_one_line(write):
    raw = b"Subject: a\nContent-Type: text/plain; format=flowed\n\nThe pump \nruns for \n"
    raw += b"long.\nYes.\n"
    assert read(write("a.eml", raw)).text == "a\n\nThe pump runs for long.\nYes."


def test_damaged_mail_is_read_or_refused(write):
    assert_survives(attached(mail(), "a.pdf", b"%PDF-1.4").as_bytes(), ".eml", least=0)
    refuses(write("a.eml", b"\r\n\r\n"), "has no text")


def test_one_bad_attachment_does_not_stop_the_rest(write):
    message = attached(attached(mail(), "bad.pdf", b"%PDF-1.4 torn"), "good.md", b"# Good\n")
    path = write("a.eml", message.as_bytes())
    assert read(path).text == "Watering\n\nThe pump runs at six."
    with pytest.raises(DocumentError, match=r"a\.eml/bad\.pdf cannot be read"):
        read_all(path)


# Mailboxes


def test_each_mail_of_a_mailbox_is_a_document(tmp_path):
    box = mailbox.mbox(tmp_path / "box.mbox")
    for script, text in SCRIPTS.items():
        box.add(mail(script, f"{text}\n\nFrom here on.\n"))
    box.close()
    documents = read_all(tmp_path / "box.mbox", id="x/box.mbox")
    assert texts(documents) == {
        f"box.mbox/{number}.eml": f"{script}\n\n{text}\n\nFrom here on."
        for number, (script, text) in enumerate(SCRIPTS.items(), start=1)
    }
    with pytest.raises(DocumentError, match=r"no text of its own, but 6 documents.*read_all"):
        read(tmp_path / "box.mbox")


# Outlook


def storage(header: bytes, texts, numbers=()):
    """Return a storage with properties: texts (or bytes) by number, and values of 8 bytes."""
    records = [struct.pack("<HHIQ", kind, key, 6, value) for key, kind, value in numbers]
    streams = {}
    for key, value in texts.items():
        kind = 0x102 if isinstance(value, bytes) else 0x1F
        data = value if isinstance(value, bytes) else value.encode("utf-16-le")
        streams[f"__substg1.0_{key:04X}{kind:04X}"] = data
        records.append(struct.pack("<HHIII", kind, key, 6, len(data), 0))
    return {"__properties_version1.0": header + b"".join(records), **streams}


def outlook(subject, body):
    sent = 134_168_256_000_000_000  # 2026-03-01T08:00:00Z, in 100 ns since 1601
    texts = {0x37: subject, 0x1000: body, 0xC1A: "Ana", 0xC1F: "ana@example.org"}
    message = storage(struct.pack("<8xIIII8x", 1, 1, 1, 1), texts, [(0x39, 0x40, sent)])
    recipient = {0x3001: "Bo", 0x39FE: "bo@example.org", 0x3003: "bo@example.org"}
    plan = {0x3707: "plan.md", 0x3701: b"# Plan\n\nWater.\n"}
    message["__recip_version1.0_#00000000"] = storage(bytes(8), recipient)
    message["__attach_version1.0_#00000000"] = storage(bytes(8), plan, [(0x3705, 3, 1)])
    return compound_file(message)


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_outlook_message_is_read_as_mail(write, script):
    path = write("a.msg", outlook(script, f"{SCRIPTS[script]}\r\n\r\nAna\r\n"))
    documents = read_all(path, id="m/a.msg")
    assert texts(documents) == {
        "a.msg": f"{script}\n\n{SCRIPTS[script]}\n\nAna",
        "a.msg/plan.md": "# Plan\n\nWater.\n",
    }
    assert documents[0].metadata["to"] == "Bo <bo@example.org>"
    assert "ana@example.org" in documents[0].metadata["from"]
    assert documents[0].metadata["date"].startswith("2026-03-01T08:00:00")


def test_a_damaged_outlook_message_is_refused(write):
    assert_survives(outlook("a", "b"), ".msg", least=5)
    refuses(write("a.msg", b"Subject: a\n\nb"), "damaged")


# Archives


def test_the_files_of_an_archive_are_documents(write):
    inner = zipped({"deep/a.md": "# Deep\n", "no.bin": b"\0"})
    files = {
        "b.txt": SCRIPTS["Hebrew"],
        "植物/a.md": SCRIPTS["CJK"],
        "inner.zip": inner,
        "mail.eml": attached(mail(), "z.txt", b"Zed").as_bytes(),
        ".hidden/x.md": "no",
        "__MACOSX/._b.txt": "no",
        "photo.jpg": b"\xff\xd8",
    }
    documents = read_all(write("a.zip", zipped(files)), id="x/a.zip")
    assert texts(documents) == {
        "a.zip/b.txt": SCRIPTS["Hebrew"],
        "a.zip/inner.zip/deep/a.md": "# Deep\n",
        "a.zip/mail.eml": "Watering\n\nThe pump runs at six.",
        "a.zip/mail.eml/z.txt": "Zed",
        "a.zip/植物/a.md": SCRIPTS["CJK"],
    }


def test_archives_are_bounded(write):
    bomb = zipped({"a.txt": b" " * 40_000_000})
    refuses(write("bomb.zip", bomb), "times its size")
    nested = b"Moss"
    name = "a.txt"
    for level in range(7):
        nested, name = zipped({name: nested}), f"{level}.zip"
    refuses(write("nested.zip", nested), r"more than 4 files deep")
    many = zipped({f"{number}.txt": b"x" * 10_000 for number in range(20)})
    outer = write("outer.zip", zipped({"a.zip": many, "b.zip": many}))
    with pytest.raises(DocumentError, match=r"more than the limit of 300,000 bytes"):
        read_all(outer, limits=Limits(expanded_bytes=300_000))
    budget = Budget(Limits(expanded_bytes=300_000))
    found = unpack(outer.read_bytes(), by_suffix()[".zip"], "x", "x", budget)
    assert len(found.failed) == 1
    assert found.documents
    refuses(write("empty.zip", zipped({"a.bin": b"x"})), "has no text")
    assert_survives(zipped({"a.txt": "Moss " * 99}), ".zip", least=15)


def test_an_encrypted_archive_is_refused(write):
    data = bytearray(zipped({"a.txt": "Moss"}))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    refuses(write("a.zip", bytes(data)), "encrypted")


# In an index


def test_the_passages_of_files_in_a_file_follow_it(tmp_path, tiny):
    folder = tmp_path / "docs"
    folder.mkdir()
    path = folder / "a.eml"
    message = attached(
        attached(mail(), "bad.pdf", b"%PDF-1.4 torn"), "plan.md", b"# Plan\n\nWater.\n"
    )
    path.write_bytes(message.as_bytes())
    index = M3Index.open(model=tiny)

    def documents():
        return {passage.document_id for passage in index.passages()}

    changes = sync(index, folder, tiny.tokenizer)
    assert (changes.added, list(changes.failed)) == (["docs/a.eml"], ["docs/a.eml/bad.pdf"])
    assert documents() == {"docs/a.eml", "docs/a.eml/plan.md"}
    assert sync(index, folder, tiny.tokenizer).unchanged == ["docs/a.eml"]
    path.write_bytes(mail(text="Shorter.").as_bytes())
    assert sync(index, folder, tiny.tokenizer).replaced == ["docs/a.eml"]
    assert documents() == {"docs/a.eml"}
    (folder / "b.md").write_text("Moss.")
    path.unlink()
    assert sync(index, folder, tiny.tokenizer).removed == ["docs/a.eml"]
    assert documents() == {"docs/b.md"}
