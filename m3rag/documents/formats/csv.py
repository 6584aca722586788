"""Tables as text (.csv, .tsv): each row with the names of its header.

The parser uses the standard library's csv module, but finds the delimiter itself, because
csv.Sniffer takes frequent letters for one.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from itertools import islice

from m3rag.documents.formats.content import UNLIMITED, Budget, Content, Writer
from m3rag.documents.formats.records import write_rows
from m3rag.errors import DocumentError

_DELIMITERS = ",;\t|"
_NAMED = re.compile(r"\"?sep=([^\"\n])\"?\n")  # how a file tells Excel its delimiter
_ROWS = 50  # that show the delimiter
_SAMPLE = 1 << 16  # characters in which they are
_SECONDS_PER_CHARACTER = 1e-6


def parse(text: str, budget: Budget = UNLIMITED) -> Content:
    """Return the rows of a table."""
    csv.field_size_limit(min(budget.limits.text_characters, (1 << 31) - 1))
    budget.more_time(_SECONDS_PER_CHARACTER * len(text))
    writer = Writer()
    named = _NAMED.match(text)
    body = text[named.end() :] if named else text
    delimiter = named[1] if named else _delimiter(body[:_SAMPLE])
    rows = csv.reader(io.StringIO(body, newline=""), delimiter=delimiter)
    try:
        write_rows(rows, writer, budget)
    except csv.Error as error:
        raise DocumentError(
            f"line {rows.line_num + bool(named)} is no row of a table: {error}."
        ) from error
    return writer.content()._replace(title=None)  # a record is no title


def _delimiter(sample: str) -> str:
    """Return the delimiter that cuts the most rows of a sample into the same number of cells."""

    def fitness(delimiter: str) -> tuple[float, int]:
        rows = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
        widths = Counter(len(row) for row in islice(rows, _ROWS) if row)
        total = widths.total()
        del widths[1]
        width, count = max(widths.items(), key=lambda item: (item[1], item[0]), default=(0, 0))
        return count / max(total, 1), width

    return max(_DELIMITERS, key=fitness)
