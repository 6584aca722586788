"""Other packages add formats by entry points; one that is broken costs only its own files."""

import pytest

from m3rag.documents import find, parser_process, read
from m3rag.documents.formats.registry import CODE, FORMATS, by_suffix
from m3rag.errors import DocumentError
from tests.documents.formats.conftest import refuses
from tests.trials.hostile_documents import CORPUS

READER = """
from m3rag.documents.formats.content import Writer

def parse(data, budget):
    writer = Writer()
    for line in data.decode().splitlines():
        if line.startswith("* "):
            writer.heading(1, line[2:])
        else:
            writer.block(line)
    return writer.content()

def number(data, budget):
    return 7
"""
ENTRIES = """
[m3rag.formats]
org = garden_org:parse
torn = garden_torn:parse
gone = garden_gone:parse
seven = garden_org:number
md = garden_torn:parse
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Install a package with formats, some of them broken, in a folder of its own."""
    site = tmp_path / "site"
    info = site / "garden_formats-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: garden-formats\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    (site / "garden_org.py").write_text(READER)
    (site / "garden_torn.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(site)
    by_suffix.cache_clear()
    parser_process.close()  # the next one finds the package
    yield
    by_suffix.cache_clear()
    parser_process.close()


@pytest.mark.usefixtures("plugin")
def test_a_package_adds_a_format(tmp_path):
    path = tmp_path / "a.ORG"
    path.write_text("* बगीचा\nपौधों को पानी दें।\n")
    document = read(path)
    assert document.text == "बगीचा\n\nपौधों को पानी दें।"
    assert [heading.title for heading in document.headings] == ["बगीचा"]
    assert document.metadata["format"] == "org"
    assert path in find(tmp_path)


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.torn", r"'garden-formats', which reads \.torn files.*ZeroDivisionError.*uninstall"),
        ("a.gone", r"'garden-formats', which reads \.gone files.*No module named 'garden_gone'"),
        ("a.seven", r"'garden-formats' returned int, not Content"),
    ],
)
def test_a_broken_package_is_named_and_stops_nothing(tmp_path, name, message):
    path = tmp_path / name
    path.write_text("Moss")
    with pytest.raises(DocumentError, match=message):
        read(path)
    (tmp_path / "b.org").write_text("Moss")
    assert read(tmp_path / "b.org").text == "Moss"


@pytest.mark.usefixtures("plugin")
def test_a_package_does_not_take_the_suffixes_of_m3rag(tmp_path):
    (tmp_path / "a.md").write_text("# Moss")
    assert read(tmp_path / "a.md").headings[0].title == "Moss"


def test_names_and_suffixes_are_unique():
    forms = (*FORMATS, *CODE)
    suffixes = [suffix for form in forms for suffix in form.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert len({form.name for form in forms}) == len(forms)


@pytest.mark.parametrize(
    ("name", "suffix", "kind"),
    [
        ("harvest.xlsx", "docx", "an Excel file"),
        ("trees.docx", "xlsx", "a Word file"),
        ("pollen.pptx", "odt", "a PowerPoint file"),
        ("hedge.odt", "epub", "an OpenDocument file"),
        ("almanac.epub", "pptx", "an e-book"),
        ("orchard.rtf", "xlsx", "an RTF file"),
        ("roots.pdf", "msg", "a PDF file"),
        ("letter.msg", "rtf", "an old Office file"),
        ("pollen.pptx", "json", "a PowerPoint file"),
    ],
)
def test_a_wrong_suffix_is_named(write, name, suffix, kind):
    path = write(f"a.{suffix}", (CORPUS / name).read_bytes())
    refuses(path, f"is {kind}.*but its suffix says")
