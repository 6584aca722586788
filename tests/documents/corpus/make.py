"""Writes the files of the corpus: about 40 in each of eight languages, and odd layouts of a page.

Run `python -m tests.documents.corpus.make`. It needs LibreOffice and Chromium. The files are
committed, so that no test needs either program.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.documents.corpus.mail import packed_files
from tests.documents.corpus.office import office_files
from tests.documents.corpus.plain import plain_files
from tests.documents.corpus.texts import SOURCES
from tests.documents.print_corpus import with_chromium, with_libreoffice

FILES = Path(__file__).parent / "files"
LAYOUT = Path(__file__).parent / "layout"
_CONVERTED = (  # the source, the format, the result
    ("text.odt", "docx", "text-writer.docx"),
    ("text.odt", "rtf", "text-writer.rtf"),
    ("text.odt", "epub", "text-writer.epub"),
    ("text.odt", "html", "text-writer.html"),
    ("text.odt", "pdf", "text-writer.pdf"),
    ("word.docx", "doc", "word.doc"),
    ("word.doc", "docx", "word-97.docx"),
    ("word.docx", "odt", "word-writer.odt"),
    ("word.docx", "rtf", "word-writer.rtf"),
    ("word.docx", "pdf", "word-writer.pdf"),
    ("slides.pptx", "odp", "slides-impress.odp"),
    ("slides.pptx", "pdf", "slides-impress.pdf"),
    ("sheets.xlsx", "xls", "sheets-calc.xls"),
    ("sheets.xlsx", "ods", "sheets-calc.ods"),
    ("sheets-calc.ods", "xlsx", "sheets-calc.xlsx"),
)


def main() -> None:
    """Write all files."""
    shutil.rmtree(FILES, ignore_errors=True)
    for source in SOURCES:
        folder = FILES / source.language
        folder.mkdir(parents=True)
        files = dict([*plain_files(source), *office_files(source)])
        files |= packed_files(source, files)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        with_chromium(folder / "page.html", folder / "page-chromium.pdf")
    folders = [FILES / source.language for source in SOURCES]
    for name, form, target in _CONVERTED:
        convert([folder / name for folder in folders], form, target)
    for folder in folders:
        (folder / "word.doc").unlink()
    with_chromium(LAYOUT / "page.html", LAYOUT / "page-chromium.pdf")
    with_libreoffice(LAYOUT / "page.html", LAYOUT / "page-writer.pdf")


def convert(sources: Sequence[Path], form: str, target: str) -> None:
    """Let LibreOffice convert files, each to one of that name beside it."""
    with tempfile.TemporaryDirectory() as scratch:
        renamed = []
        for number, source in enumerate(sources):
            renamed.append(Path(scratch, f"{number}{source.suffix}"))
            shutil.copy(source, renamed[-1])
        profile = f"-env:UserInstallation=file://{scratch}/profile"
        command = ["soffice", profile, "--headless", "--convert-to", form, "--outdir", scratch]
        subprocess.run([*command, *map(str, renamed)], check=True, capture_output=True)
        for number, source in enumerate(sources):
            shutil.copy(Path(scratch, f"{number}.{form}"), source.parent / target)


if __name__ == "__main__":
    main()
