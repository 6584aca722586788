"""Records and rows as text: each value with the name of its field, so a passage explains itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice

from m3rag.documents.decoding import check_length
from m3rag.documents.formats.content import Budget, Writer
from m3rag.documents.plain_text import table_text
from m3rag.documents.tables import is_header
from m3rag.errors import DocumentError
from m3rag.limits import shown

_TOP = 20  # rows in which a header may be
_NAMED = 8  # fields that an error names
_SECONDS = 0.1  # that 1,000 records earn; ten fields each take a third of it

Row = Sequence[str]


class Records:
    """Writes records, each as a block with a line for each field.

    Without fields to read, all are written as "name: value". With them, only their values are
    written, each as a block, and the field that is the id is the heading of its record.
    """

    def __init__(self, writer: Writer, budget: Budget) -> None:
        self._writer, self._budget = writer, budget
        self._fields = budget.fields
        self._names: dict[str, None] = {}  # of the fields that were seen
        self._count = 0
        self._read = False

    def add(self, record: Iterable[tuple[str, str]]) -> None:
        """Write a record; fields may repeat."""
        pairs = [(name, value.strip()) for name, value in record if value.strip()]
        if self._fields.id is not None:
            title = next((value for name, value in pairs if name == self._fields.id), "")
            self._writer.heading(1, title)
        if self._fields.text:
            for field in self._fields.text:
                values = [value for name, value in pairs if name == field]
                self._read = self._read or bool(values)
                self._writer.block("\n".join(values))
            if not self._read and len(self._names) < _NAMED:
                self._names |= dict.fromkeys(name for name, _ in pairs)
        else:
            named = (pair for pair in pairs if pair[0] != self._fields.id)
            lines = [f"{name}: {value}" if name else value for name, value in named]
            self._writer.block("\n".join(lines))
        check_length(self._writer.length, self._budget.limits)
        self._count += 1
        if self._count % 1000 == 0:
            self._budget.more_time(_SECONDS)

    def finish(self) -> None:
        """Check that a field with text was found.

        Raises:
            DocumentError: No record has one; the message names the fields that there are.
        """
        if self._fields.text and self._count and not self._read:
            given = ", ".join(shown(name, 80) for name in self._fields.text)
            found = ", ".join(shown(name, 80) for name in islice(self._names, _NAMED))
            raise DocumentError(
                f"none of its {self._count:,} records has text in {given}; its fields are {found}. "
                "Name one of them."
            )


def write_rows(rows: Iterable[Row], writer: Writer, budget: Budget) -> None:
    """Write the rows of a table under their header, or as a table if it has none.

    The header is the first row with several cells, if none of them is a number, or several are
    years or days. The rows above it are paragraphs.

    Raises:
        DocumentError: Fields are to be read, and there is no header, or none of them is in it.
    """
    waiting = (row for row in rows if any(cell.strip() for cell in row))
    top = list(islice(waiting, _TOP))
    at = next((i for i, row in enumerate(top) if len(_filled(row)) > 1), None)
    records = Records(writer, budget)
    if at is None and len(top) == _TOP:
        at = len(top)  # one column
    header = None if at is None or at + 1 >= len(top) else _header(top[at])
    if header is None or at is None:
        if budget.fields.text and top:
            raise DocumentError("its first rows have no header, so no field can be read from it.")
        _write_table(chain(top, waiting), writer, budget)
    else:
        for row in top[:at]:
            writer.block(" ".join(_filled(row)))
        for row in chain(top[at + 1 :], waiting):
            records.add(_pairs(header, row))
    records.finish()


def _filled(row: Row) -> list[str]:
    return [cell.strip() for cell in row if cell.strip()]


def _header(row: Row) -> list[str] | None:
    """Return the names in a row; None if it is no header."""
    return [" ".join(cell.split()) for cell in row] if is_header(row) else None


def _pairs(header: Sequence[str], row: Row) -> Iterator[tuple[str, str]]:
    for number, cell in enumerate(row):
        yield header[number] if number < len(header) else "", cell


def _write_table(rows: Iterator[Row], writer: Writer, budget: Budget) -> None:
    gap = "\n\n"
    while block := list(islice(rows, 1000)):
        if any(len(_filled(row)) > 1 for row in block):
            text = table_text(block)
        else:
            text = "\n".join(" ".join(_filled(row)) for row in block)
        writer.block(text, gap=gap)
        gap = "\n"
        check_length(writer.length, budget.limits)
        budget.more_time(_SECONDS)


def flattened(record: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the values in a JSON value, each with its path, such as "author.name".

    The items of a list have the path of the list; those that are plain values are joined.
    """
    if isinstance(record, Mapping):
        for key, value in record.items():
            yield from flattened(value, f"{name}.{key}" if name else str(key))
    elif isinstance(record, list):
        plain = [item for item in record if not isinstance(item, Mapping | list)]
        if len(plain) == len(record):
            values = (value for item in plain for _, value in flattened(item))
            yield name, ", ".join(values)
        else:
            for item in record:
                yield from flattened(item, name)
    elif record is not None:
        yield name, str(record).lower() if isinstance(record, bool) else str(record)
