"""Compare libraries that extract text from PDFs, on files printed from pages of known text.

    python benchmarks/pdf.py --python build/pdf/bin/python [--files build/pdf-files] [--save]

`--python` is the interpreter of an environment with the libraries (`pip install pypdf pypdfium2
pdfplumber "markitdown[pdf]" kreuzberg`); m3rag runs in this one. Chromium and LibreOffice print the
pages, which takes minutes, unless `--files` has them already.

The figures: recall is the share of the words of a page that come out; order, of the pairs of
neighbouring words, that are neighbours in the output; tables, of the rows, whose cells come out in
order in one line, with the empty ones in their place. A Chinese, Japanese or Thai letter is a word,
and texts are compared in Unicode's form NFC.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

from tuning import markdown

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "tests" / "documents" / "printed"
TARGET = ROOT / "benchmarks" / "pdf.md"
_STYLES = {
    "plain": "",
    "justified": "body{text-align:justify;hyphens:auto;width:9cm}",
    "columns": "body{columns:2}",
    "table": "td,th{border:1px solid}",
    "open table": "td,th{padding:0 1em}",
}
_SCRIPTS = ("latin", "right to left", "CJK", "Thai and Devanagari")
_ALONE = "\u0e00-\u0e7f\u3000-\u9fff\uff00-\uffef"  # letters of words without spaces between them
_WORD = re.compile(rf"[{_ALONE}]|[^\s|{_ALONE}]+")

# Each runs as a program of its own: the files as arguments, a JSON line for each as output.
_FRAME = """
import json, sys, time
{setup}
for path in sys.argv[1:]:
    start = time.perf_counter()
    try:
        text = read(path)
    except Exception:
        text = ""
    print(json.dumps([text, time.perf_counter() - start]))
"""
_KREUZBERG = """from kreuzberg import ExtractionConfig, extract_file_sync
config = ExtractionConfig(use_cache=False, output_format="{form}")
def read(p): return extract_file_sync(p, config=config).content"""
_LIBRARIES = {
    "pypdf": "import pypdf\ndef read(p): return '\\n'.join(x.extract_text() for x in "
    "pypdf.PdfReader(p).pages)",
    "pypdf, layout": "import pypdf\ndef read(p): return '\\n'.join(x.extract_text("
    "extraction_mode='layout') for x in pypdf.PdfReader(p).pages)",
    "pdfminer.six": "from pdfminer.high_level import extract_text as read",
    "pdfplumber": "import pdfplumber\ndef read(p):\n    with pdfplumber.open(p) as pdf: return "
    "'\\n'.join(x.extract_text() for x in pdf.pages)",
    "pypdfium2": "import pypdfium2\ndef read(p): return '\\n'.join("
    "x.get_textpage().get_text_range() for x in pypdfium2.PdfDocument(p))",
    "markitdown": "from markitdown import MarkItDown\nconverter = MarkItDown()\n"
    "def read(p): return converter.convert(p).text_content",
    "kreuzberg": _KREUZBERG.format(form="plain"),
    "kreuzberg, Markdown": _KREUZBERG.format(form="markdown"),
}
_OURS = (
    "from m3rag.documents.formats.pdf import parse\nfrom pathlib import Path\n"
    "def read(p): return parse(Path(p).read_bytes()).text"
)


class Blocks(HTMLParser):
    """The text of each paragraph and heading of a page, and of each row of its tables."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.blocks: list[str] = []
        self.rows: list[list[str]] = []
        self._into: list[str] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Start a block."""
        if tag == "tr":
            self.rows.append([])
        elif tag in ("h1", "h2", "p", "td", "th"):
            self._into = self.rows[-1] if tag in ("td", "th") else self.blocks
            self._into.append("")

    def handle_endtag(self, tag: str) -> None:
        """End a block."""
        if tag in ("h1", "h2", "p", "td", "th"):
            self._into = None

    def handle_data(self, data: str) -> None:
        """Take the text of a block."""
        if self._into is not None:
            self._into[-1] += data


def main() -> None:
    """Print the files, read them with each library, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--python", required=True)
    parser.add_argument("--files", type=Path, default=ROOT / "build" / "pdf-files")
    parser.add_argument("--save", action="store_true")
    args = parser.parse_args()
    pages = dict(sources())
    files = printed(pages, args.files)
    rows = []
    for name, setup in {"m3rag": _OURS, **_LIBRARIES}.items():
        python = sys.executable if name == "m3rag" else args.python
        texts, seconds = read_with(python, setup, files)
        rows.append([name, *figures(files, pages, texts), f"{1000 * seconds / len(files):.0f}"])
    head = [
        "",
        *(f"{s}: recall, order" for s in _SCRIPTS),
        "ruled tables",
        "open tables",
        "ms a file",
    ]
    table = markdown(head, rows)
    print(table)
    if args.save:
        TARGET.write_text(f"{_INTRODUCTION.format(count=len(files))}\n{table}\n")


def sources() -> Iterator[tuple[str, str]]:
    """Yield the name and the HTML of each page to print."""
    from tests.documents.corpus.plain import html
    from tests.documents.corpus.texts import SOURCES

    text = (PAGES / "scripts.html").read_text()
    body = text.partition("<body>")[2].partition("</body>")[0]
    parts = [f"<h{part}" for part in re.split(r"<h(?=\d)", body)[1:]]
    head, table = parts[0], body[body.index("<table") :]
    for number, part in enumerate(parts[1:], start=1):
        yield f"{script_of(part)} {number}", page(part.partition("<table")[0] * 3, "plain")
    columns = (PAGES / "columns.html").read_text().partition("<body>")[2]
    for style in _STYLES:
        cells = table if style == "table" else table.replace(" border=1", "")
        yield f"latin {style}", page(head + (cells if "table" in style else columns), style)
    for source in SOURCES:
        text = re.sub("(?s)<table.*</table>|<sup>.*?</sup>", "", html(source))
        yield f"{script_of(source.intro)} {source.language}", text
    arabic = next(part for part in parts if 'lang="ar"' in part)
    yield "right to left columns", page(arabic * 6, "columns")
    yield "right to left justified", page(arabic * 3, "justified")


def page(body: str, style: str) -> str:
    """Return a page."""
    style = f"<style>{_STYLES[style]}</style>"
    return f'<!doctype html><meta charset="utf-8">{style}<body lang="en">{body}'


def script_of(text: str) -> str:
    """Return the group of scripts that a text belongs to."""
    for script, letters in zip(
        _SCRIPTS[1:],
        ("[\u0590-\u08ff]", "[\u3040-\u9fff\uac00-\ud7af]", "[\u0900-\u0e7f]"),
        strict=True,
    ):
        if len(re.findall(letters, text)) > 5:
            return script
    return _SCRIPTS[0]


def printed(pages: dict[str, str], folder: Path) -> list[Path]:
    """Print the pages that the folder does not have, and return all files."""
    from tests.documents.print_corpus import with_chromium, with_libreoffice

    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, content in pages.items():
        source = folder / f"{name.replace(' ', '_')}.html"
        source.write_text(content)
        for program, to_pdf in (("chromium", with_chromium), ("libreoffice", with_libreoffice)):
            files.append(folder / f"{source.stem}-{program}.pdf")
            if not files[-1].exists():
                to_pdf(source, files[-1])
    return files


def read_with(python: str, setup: str, files: list[Path]) -> tuple[list[str], float]:
    """Return the text of each file, and how long reading all of them took in seconds."""
    program = [python, "-W", "ignore", "-c", _FRAME.format(setup=setup)]
    done = subprocess.run([*program, *map(str, files)], capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{python} cannot run {setup!r}.")
    results = [json.loads(line) for line in done.stdout.splitlines()]
    texts = [unicodedata.normalize("NFC", text) for text, _ in results]
    return texts, sum(seconds for _, seconds in results)


def figures(files: list[Path], pages: dict[str, str], texts: list[str]) -> list[str]:
    """Return the cells of a row: recall and order of each group of scripts, and the tables."""
    found: dict[str, list[tuple[int, int, int, int]]] = {script: [] for script in _SCRIPTS}
    tables: dict[str, list[bool]] = {"table": [], "open table": []}
    for file, text in zip(files, texts, strict=True):
        name = file.stem.rpartition("-")[0].replace("_", " ")
        blocks = Blocks(pages[name])
        script = next(script for script in _SCRIPTS if name.startswith(script))
        if blocks.rows:
            tables[name.removeprefix("latin ")] += rows_found(blocks.rows, text)
        else:
            found[script].append(compared(blocks.blocks, text))
    cells = []
    for counts in found.values():
        words, kept, pairs, neighbours = map(sum, zip(*counts, strict=True))
        cells.append(f"{kept / words:.3f}, {neighbours / pairs:.3f}")
    return [*cells, *(f"{sum(rows)} of {len(rows)}" for rows in tables.values())]


def compared(blocks: list[str], text: str) -> tuple[int, int, int, int]:
    """Return how many words there are and come out, and how many pairs there are and stay."""
    blocks = [unicodedata.normalize("NFC", block) for block in blocks]
    words = Counter(word for block in blocks for word in _WORD.findall(block))
    pairs = Counter(pair for block in blocks for pair in pairwise(_WORD.findall(block)))
    output = _WORD.findall(text)
    kept = words & Counter(output)
    neighbours = pairs & Counter(pairwise(output))
    return words.total(), kept.total(), pairs.total(), neighbours.total()


def rows_found(rows: list[list[str]], text: str) -> list[bool]:
    """Return for each row whether a line has its cells in order, the empty ones in their place."""
    lines = [cells_of(line) for line in text.split("\n")]
    return [[cell.strip() for cell in row] in lines for row in rows]


def cells_of(line: str) -> list[str]:
    """Return the cells of a line, between bars or else between wide gaps."""
    line = line.strip()
    cells = line.strip("|").split("|") if line.startswith("|") else re.split(r"\t| {2,}", line)
    return [cell.strip() for cell in cells]


_INTRODUCTION = """# Libraries that read PDFs

`python benchmarks/pdf.py --python … --save` wrote this table from {count} files: pages in 13
languages and 7 layouts, printed by Chromium and by LibreOffice. Recall is the share of the words
that come out, order the share of neighbouring words that are neighbours in the output; a Chinese,
Japanese or Thai letter is a word, and texts are compared in Unicode's form NFC. A row of a table
counts if a line has its cells in order, with the empty ones in their place: between bars, or wide
gaps. Versions: pypdf 7.1 (BSD-3-Clause), pdfminer.six 20260107 (MIT), pdfplumber 0.11 (MIT),
pypdfium2 5.15 (Apache-2.0 or BSD-3-Clause), markitdown 0.1.9 (MIT), kreuzberg 4.10 (MIT). Not
compared are libraries under the AGPL, and docling, whose layout models must be downloaded.
"""

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
