import io
import subprocess
import sys
import zipfile

import docx
import pytest

from m3rag.documents import Heading, find, read
from m3rag.errors import DocumentError
from tests.documents.conftest import lines_at

# Markdown


def test_markdown_stays_as_written(write):
    text = "# A *title*\n\nSome **bold** [link](url).\n"
    document = read(write("a.md", text))
    assert document.text == text
    assert document.headings == (Heading(1, "A title", 0),)
    assert document.metadata["title"] == "A title"


def test_markdown_titles_are_plain(write):
    document = read(write("a.md", "## `code` [link](u) ![pic](x) a \\* &amp; ##\n"))
    assert document.headings[0].title == "code link pic a * &"


def test_setext_headings_start_at_their_title(write):
    document = read(write("a.md", "Text.\n\nTop\n===\n\nSub\n---\n"))
    assert [(h.level, h.title) for h in document.headings] == [(1, "Top"), (2, "Sub")]
    assert lines_at(document) == ["Top", "Sub"]


def test_code_and_comments_have_no_headings(write):
    text = "```sh\n# no\n```\n\n~~~\n# no\n~~~\n\n    # no\n\n<!--\n# no\n-->\n\n# Yes\n"
    document = read(write("a.markdown", text))
    assert lines_at(document) == ["# Yes"]


def test_front_matter_has_no_headings_and_may_have_the_title(write):
    document = read(write("a.md", '---\ntitle: "Named"\ntags: x\n---\n# One\n\nText\n'))
    assert document.metadata["title"] == "Named"
    assert lines_at(document) == ["# One"]


def test_front_matter_may_be_toml(write):
    document = read(write("a.md", "+++\ntitle = 'Named'\n# no\n+++\n# One\n"))
    assert document.metadata["title"] == "Named"
    assert lines_at(document) == ["# One"]


def test_mdx_is_markdown(write):
    document = read(write("a.mdx", "import A from './a'\n\n# One\n\n<A />\n\n$E=mc^2$\n"))
    assert document.metadata["format"] == "markdown"
    assert lines_at(document) == ["# One"]
    assert "$E=mc^2$" in document.text


def test_links_of_notes_are_their_words_in_titles(write):
    document = read(write("a.md", "# On [[Pump|the pump]] and [[Soil]] [[\n\nSee [[Pump]].\n"))
    assert document.headings[0].title == "On the pump and Soil [["
    assert document.text.endswith("See [[Pump]].\n")


# HTML


def test_html_becomes_text(write):
    page = """<html><head><title>The page</title><style>p{}</style><script>no()</script></head>
    <body><nav>Menu</nav><h1>Big <i>title</i></h1><!-- no --><p>One
    <b>bold</b> word<br>and a line.</p><div>Two<p>Three</p></div><footer>Foot</footer></body>"""
    document = read(write("a.html", page))
    assert document.text == "Big title\n\nOne bold word\nand a line.\n\nTwo\n\nThree"
    assert document.headings == (Heading(1, "Big title", 0),)
    assert document.metadata["title"] == "The page"


def test_html_lists_and_tables_are_readable(write):
    page = """<ul><li>a<ul><li>b</ul><li>c</ul><ol><li>x<li>y</ol>
    <table><tr><th>K<th>V<tr><td>1 <td><b>2</b></table><pre>if x:\n    y</pre>"""
    assert read(write("a.htm", page)).text == (
        "- a\n  - b\n- c\n\n1. x\n2. y\n\n| K | V |\n| 1 | 2 |\n\nif x:\n    y"
    )


def test_html_takes_the_main_part_of_a_page(write):
    assert read(write("a.html", "<div>Ad</div><main><p>Text</main>")).text == "Text"


def test_html_may_be_nested_2000_levels_deep(write):
    assert read(write("a.html", "<ul><li>" * 2000 + "deep")).text.strip(" -").endswith("deep")


def test_html_may_declare_its_encoding(write):
    page = '<meta charset="windows-1251"><p>Почва'.encode("cp1251")
    assert read(write("a.html", page)).text == "Почва"


# DOCX


def test_docx_keeps_headings_lists_and_tables_in_order(write):
    word = docx.Document()
    word.add_heading("Book", 0)
    word.add_heading("One", 1)
    word.add_paragraph("Text.")
    for item in "ab":
        word.add_paragraph(item, style="List Bullet")
    table = word.add_table(1, 2)
    table.cell(0, 0).text, table.cell(0, 1).text = "k", "v"
    word.add_heading("Two", 2)
    data = io.BytesIO()
    word.save(data)
    document = read(write("a.docx", data.getvalue()))
    assert document.text == "Book\n\nOne\n\nText.\n\n- a\n- b\n\n| k | v |\n\nTwo"
    assert [(h.level, h.title) for h in document.headings] == [(1, "Book"), (2, "One"), (3, "Two")]
    assert lines_at(document) == ["Book", "One", "Two"]


def test_docx_tracked_insertions_are_text(write):
    word = docx.Document()
    run = word.add_paragraph("was ").add_run("inserted")._r
    inserted = run.makeelement(f"{{{run.nsmap['w']}}}ins", {})
    run.addprevious(inserted)
    inserted.append(run)
    data = io.BytesIO()
    word.save(data)
    assert read(write("a.docx", data.getvalue())).text == "was inserted"


def test_a_broken_docx_is_refused(write):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("x.xml", "<x/>")
    for content in (b"no zip", data.getvalue()):
        with pytest.raises(DocumentError, match="damaged"):
            read(write("a.docx", content))


def test_an_encrypted_docx_is_refused(write):
    with pytest.raises(DocumentError, match="encrypted"):
        read(write("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100)))


# Encodings and line endings


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_unicode_is_read_and_line_ends_become_newlines(write, encoding):
    assert read(write("a.txt", "Erde\r\n土\rземля\n".encode(encoding))).text == "Erde\n土\nземля\n"


def test_another_encoding_is_refused_and_the_byte_is_named(write):
    with pytest.raises(DocumentError, match=r"byte 1 is not UTF-8.*iconv"):
        read(write("a.txt", "für".encode("latin-1")))


def test_a_binary_file_is_no_text(write):
    with pytest.raises(DocumentError, match=r"character 3 is NUL.*binary"):
        read(write("a.txt", b"ELF\0\1\2"))


# Files


def test_a_documents_id_is_its_path_or_the_argument(write):
    path = write("a.txt", "x")
    assert read(path).id == path.as_posix()
    assert read(path, id="name").id == "name"


def test_no_such_file(tmp_path):
    with pytest.raises(DocumentError, match="does not exist"):
        read(tmp_path / "a.md")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(DocumentError, match="is a folder"):
        read(tmp_path)


def test_an_unknown_suffix_is_refused(write):
    with pytest.raises(DocumentError, match=r"unknown suffix '\.xyz'.*\.docx"):
        read(write("a.xyz", "x"))


@pytest.mark.parametrize(("content", "message"), [("", "0 bytes"), (" \n\n", "no text")])
def test_an_empty_file_is_refused(write, content, message):
    with pytest.raises(DocumentError, match=message):
        read(write("a.txt", content))


def test_a_file_without_read_permission_is_refused(write, unprivileged):
    path = write("a.txt", "x")
    path.chmod(0)
    with unprivileged(), pytest.raises(DocumentError, match="permissions"):
        read(path)


def test_find_lists_known_files_sorted_without_hidden_ones(tmp_path):
    for name in ("b/z.md", "b/a.PDF", "a.txt", "x.png", ".git/a.md", "b/.hidden.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find(tmp_path) == [tmp_path / name for name in ("a.txt", "b/a.PDF", "b/z.md")]


def test_find_needs_a_folder(write, tmp_path):
    with pytest.raises(DocumentError, match="does not exist"):
        find(tmp_path / "none")
    with pytest.raises(DocumentError, match="is a file"):
        find(write("a.txt", "x"))


def test_importing_documents_imports_no_parser():
    code = (
        "import sys, m3rag.documents; "
        "print([m for m in ('bs4', 'lxml', 'pypdfium2', 'docx', 'markdown_it', 'torch') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
