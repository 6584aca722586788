"""Files in a temporary folder, and the errors that every damaged file must give."""

import pytest

from m3rag.documents import read
from m3rag.documents.formats.content import Budget
from m3rag.documents.formats.registry import by_suffix
from m3rag.documents.parsing import parse
from m3rag.errors import DocumentError

SCRIPTS = {
    "Latin": "Die Pflanzen werden früh gegossen.",
    "Arabic": "تُسقى النباتات في الصباح.",
    "Hebrew": "משקים את הצמחים בבוקר.",
    "CJK": "植物在早晨浇水。朝に植物に水をやります。",
    "Thai": "รดน้ำต้นไม้ในตอนเช้า",
    "Devanagari": "पौधों को सुबह पानी दिया जाता है।",
}
"""A sentence in each script."""


def titles(document):
    """Return the level and title of each heading, after a check that its place is the title's."""
    for heading in document.headings:
        line = document.text[heading.start :].split("\n")[0]
        assert " ".join(line.split()).startswith(heading.title.rstrip("…")), (line, heading)
    return [(heading.level, heading.title) for heading in document.headings]


def assert_survives(data, suffix, *, least=1):
    """Check that a file cut at any place, or with wrong bytes, is read or gives our own error.

    Args:
        data: A whole file.
        suffix: The suffix of its format.
        least: How many of the damaged files must give an error.
    """
    form = by_suffix()[suffix]
    cuts = [data[: len(data) * part // 16] for part in range(1, 16)]
    torn = [
        data[:at] + b"\xff\x00\xfe" + data[at + 3 :]
        for at in range(0, len(data), -(-len(data) // 16))
    ]
    refused = 0
    for damaged in [*cuts, *torn]:
        try:
            parse(damaged, form, Budget()).text.encode()
        except DocumentError:
            refused += 1
    assert refused >= least


def refuses(path, match):
    """Check that a file gives our own error."""
    with pytest.raises(DocumentError, match=match):
        read(path)
