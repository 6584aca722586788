"""What must be read from each file of the corpus: the blocks of text, the headings, the pages."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tests.documents.corpus import plain
from tests.documents.corpus.texts import Source


class Expected(NamedTuple):
    """The content of a file.

    Attributes:
        blocks: Its text, between blank lines.
        headings: The level of each heading and the number of its block.
        pages: The number of the block that each page starts with.
        title: Its title, if it has one.
        parts: The files in it, by name.
    """

    blocks: Sequence[str]
    headings: Sequence[tuple[int, int]] = ()
    pages: Sequence[int] = ()
    title: str | None = None
    parts: Mapping[str, str] = {}


def flow(
    source: Source,
    *,
    marks: Sequence[str] = ("- ", "- ", "- "),
    noted: str = "[1]",
    note: str = "[1] ",
    note_at: int = 5,
    numbers: Sequence[str] = ("", "", "", ""),
    header: str = "",
    pages: Sequence[int] = (),
    every_page: bool = False,
) -> Expected:
    """Return what a document with the whole text of a source is.

    Args:
        source: The source.
        marks: What is before the items of the list.
        noted: What is behind the sentence with a note.
        note: What is before the note.
        note_at: The number of the block that the note is, counted without headers.
        numbers: What is before the headings.
        header: The header of its pages.
        pages: As in `Expected`.
        every_page: Whether the header is on every page, not only at the start.
    """
    items = "\n".join(map(str.__add__, marks, source.items))
    table = "\n".join(f"| {' | '.join(row)} |" for row in source.table)
    blocks = [
        numbers[0] + source.title, source.intro, numbers[1] + source.list_title, items,
        source.noted + noted, numbers[2] + source.table_title, table,
        numbers[3] + source.page_title, source.closing,
    ]  # fmt: skip
    titles = [blocks[0], blocks[2], blocks[5], blocks[7]]
    blocks.insert(note_at, note + source.note)
    if header:
        blocks.insert(0, header)
        if every_page:
            blocks.insert(blocks.index(titles[-1]), header)
    levels = (1, 2, 2, 2)
    headings = [(level, blocks.index(t)) for level, t in zip(levels, titles, strict=True)]
    return Expected(blocks, headings, pages, source.title)


def written(text: str, *titles: tuple[int, str], title: str | None = None) -> Expected:
    """Return what a text is that stays as it is written."""
    blocks = text.split("\n\n")
    places = [
        (level, next(i for i, block in enumerate(blocks) if line in block))
        for level, line in titles
    ]
    return Expected(blocks, places, (), title)


def _page(source: Source) -> Expected:
    return flow(source, noted="1", note="")


def _word(source: Source) -> Expected:
    header = f"{source.title} – {source.page_title}"
    return flow(source, marks=("1. ", "2. ", "3. "), header=header)


def _markdown(source: Source) -> Expected:
    titles = ((1, f"# {source.title}"), (2, f"## {source.list_title}"),
              (2, f"## {source.table_title}"), (2, f"{source.page_title}\n---"))  # fmt: skip
    return written(plain.markdown(source), *titles, title=source.title)


def _rst(source: Source) -> Expected:
    titles = ((1, f"{source.title}\n=="), (2, f"{source.list_title}\n--"),
              (2, f"{source.page_title}\n--"))  # fmt: skip
    return written(plain.rst(source), *titles, title=source.title)


def _tex(source: Source) -> Expected:
    found = flow(source, noted=f" ({source.note})")
    blocks = [block for block in found.blocks if not block.startswith("[1]")]
    return found._replace(blocks=blocks, headings=((1, 0), (2, 2), (2, 5), (2, 7)))


def _xml(source: Source) -> Expected:
    blocks = [
        source.title, source.intro, source.list_title, *source.items, source.noted,
        source.table_title, "\n".join(f"| {' | '.join(row)} |" for row in source.table),
        source.page_title, source.closing,
    ]  # fmt: skip
    return Expected(blocks, ((1, 0), (2, 2), (2, 7), (2, 9)), (), source.title)


def _notebook(source: Source) -> Expected:
    code = f'```python\ntitle = "{source.title}"\nprint(title)\n```'
    blocks = [f"# {source.title}", source.intro, code, source.closing]
    return Expected(blocks, ((1, 0),), (), source.title)


def _rows(source: Source) -> Expected:
    return Expected(_records(source, [*source.table[1:], _last_row(source)]))


def _last_row(source: Source) -> tuple[str, str, str]:
    return source.title, f'{source.noted}\n"{source.note}"', source.closing


def _records(source: Source, rows: Sequence[Sequence[str]]) -> list[str]:
    pairs = (zip(source.table[0], row, strict=True) for row in rows)
    return ["\n".join(f"{name}: {cell}" for name, cell in record if cell) for record in pairs]


def _json(source: Source) -> Expected:
    return Expected(
        (
            f"id: {source.language}\ntitle: {source.title}\ntext.body: {source.intro}",
            f"id: {source.language}-2\ntitle: {source.page_title}\ntags: {', '.join(source.items)}",
        )
    )


def _sheets(source: Source) -> Expected:
    rows = [(item, f"{i * 1.5:g}", f"2026-03-0{i}") for i, item in enumerate(source.items, 1)]
    blocks = [source.table_title, source.title, *_records(source, source.table[1:]),
              source.page_title, *_records(source, rows)]  # fmt: skip
    return Expected(blocks, ((1, 0), (1, 4)))


def _slides(source: Source, *levels: int) -> Expected:
    items = "\n".join(f"- {item}" for item in source.items)
    table = "\n".join(f"| {' | '.join(row)} |" for row in source.table)
    blocks = (source.title, source.intro, source.list_title, items, source.note,
              source.table_title, table, source.closing)  # fmt: skip
    headings = tuple(zip(levels, (0, 2, 5), strict=True))
    return Expected(blocks, headings, (0, 2, 5), source.title)


def _printed_slides(source: Source) -> Expected:
    """Return the slides as LibreOffice prints them: all tables are left to right."""
    table = [row[::-1] if source.right_to_left else row for row in source.table]
    blocks = list(_slides(source, 1, 1, 1).blocks)
    blocks[3] = "\n".join(f"• {item}" for item in source.items)
    blocks[6] = "\n".join(f"| {' | '.join(row)} |" for row in table)
    del blocks[4]  # notes are not printed
    return Expected(blocks, ((1, 0), (1, 2), (1, 4)), (0, 2, 4))


def _letter(source: Source) -> Expected:
    blocks = (source.title, source.intro, source.closing)
    parts = {f"{source.page_title}.txt": source.note}
    return Expected(blocks, ((1, 0),), (), source.title, parts)


def _mail(source: Source) -> Expected:
    parts = {
        f"{source.page_title}.txt": f"{source.note}\n",
        "rows.csv": "\n\n".join(_rows(source).blocks),
    }
    return _letter(source)._replace(parts=parts)


def _web_letter(source: Source) -> Expected:
    items = "\n".join(f"- {item}" for item in source.items)
    blocks = (source.page_title, source.list_title, items, source.closing)
    return Expected(blocks, ((1, 0), (1, 1)), (), source.page_title)


def _mailbox(source: Source) -> Expected:
    mails = (_mail(source), _web_letter(source))
    return Expected(
        (), parts={f"{i}.eml": "\n\n".join(m.blocks) for i, m in enumerate(mails, start=1)}
    )


def _archive(source: Source) -> Expected:
    parts = {
        f"{source.language}/{source.title}.md": plain.markdown(source),
        "letter.eml": "\n\n".join(_mail(source).blocks),
        "rows.csv": "\n\n".join(_rows(source).blocks),
    }
    return Expected((), parts=parts)


def _book(source: Source) -> Expected:
    items = "\n".join(f"- {item}" for item in source.items)
    blocks = (source.title, source.intro, source.list_title, items, source.page_title,
              source.closing)  # fmt: skip
    return Expected(blocks, ((1, 0), (2, 2), (1, 4)), (), source.title)


def _styled_book(source: Source) -> Expected:
    """Return a book of LibreOffice, whose headings and lists are paragraphs with a style."""
    found = flow(source, marks=("", "", ""), noted="1", note="1", note_at=9)
    blocks = [line for block in found.blocks
              for line in ([block] if "|" in block else block.split("\n"))]  # fmt: skip
    return found._replace(blocks=blocks, headings=((1, 0),))


_NUMBERS = ("1. ", "1.1. ", "1.2. ", "1.3. ")
_TIGHT = tuple(number.strip() for number in _NUMBERS)


def _program(source: Source) -> Expected:
    titles = ((1, "class Pump"), (2, "run()"))
    return written(plain.program(source), *titles)


EXPECTED: dict[str, Callable[[Source], Expected]] = {
    "page.html": _page,
    "old-page.htm": _page,
    "text.txt": lambda s: written(plain.text(s)),
    "text-16.txt": lambda s: written(plain.text(s)),
    "text.md": _markdown,
    "text.rst": _rst,
    "text.tex": _tex,
    "text.xml": _xml,
    "text.ipynb": _notebook,
    "program.js": _program,
    "rows.csv": _rows,
    "rows.tsv": _rows,
    "records.json": _json,
    "records.jsonl": _json,
    "word.docx": _word,
    "word-97.docx": _word,
    "text-writer.docx": lambda s: flow(s, numbers=_NUMBERS),
    "text.odt": lambda s: flow(s, numbers=_NUMBERS),
    "word-writer.odt": _word,
    "text-writer.rtf": lambda s: flow(s, numbers=_NUMBERS, note_at=9),
    "word-writer.rtf": lambda s: flow(s, marks=("1. ", "2. ", "3. "), note_at=9),
    "text-writer.html": lambda s: flow(s, numbers=_TIGHT, noted="1", note="1", note_at=9),
    "text-writer.epub": _styled_book,
    "slides.pptx": lambda s: _slides(s, 1, 2, 2),
    "slides-impress.odp": lambda s: _slides(s, 1, 1, 1),
    "sheets.xlsx": _sheets,
    "sheets-calc.xlsx": _sheets,
    "sheets-calc.xls": _sheets,
    "sheets-calc.ods": _sheets,
    "letter.eml": _mail,
    "web-letter.eml": _web_letter,
    "letters.mbox": _mailbox,
    "letter.msg": _letter,
    "book.epub": _book,
    "files.zip": _archive,
}
"""What is expected of each file of a source, by name."""

PRINTED: dict[str, Callable[[Source], Expected]] = {
    "page-chromium.pdf": lambda s: flow(s, marks=("", "", ""), noted="1", note="", pages=(0, 8)),
    "text-writer.pdf": lambda s: flow(
        s, marks=("• ",) * 3, numbers=_TIGHT, noted="1", note="1 ", note_at=7, pages=(0, 8),
    ),
    "word-writer.pdf": lambda s: flow(
        s, marks=("1. ", "2. ", "3. "), noted="1", note="1", note_at=7, pages=(0, 9),
        header=f"{s.title} – {s.page_title}", every_page=True,
    ),
    "slides-impress.pdf": _printed_slides,
}  # fmt: skip
"""What is expected of each printed file, whose lines are broken where they end."""
