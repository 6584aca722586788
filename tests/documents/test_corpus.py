"""Every format in eight languages: the text, its order, the headings, the pages, files in files."""

import re
from pathlib import Path

import pytest

from m3rag.documents.formats.content import Budget
from m3rag.documents.formats.registry import format_for
from m3rag.documents.parsing import parse
from tests.documents.corpus.expected import EXPECTED, PRINTED
from tests.documents.corpus.make import FILES
from tests.documents.corpus.texts import SOURCES

CASES = [pytest.param(source, name, id=f"{source.language}-{name}")
         for source in SOURCES for name in (*EXPECTED, *PRINTED)]  # fmt: skip
# Lines of these are broken between letters, and programs draw a gap before Latin letters.
UNSPACED = ("zh", "ja", "th")


def content_of(name, data):
    return parse(data, format_for(Path(name).suffix), Budget())


def matcher(block: str, language: str) -> str:
    """Return a pattern of a block whose lines may be broken.

    Vowel marks on one letter of Arabic may be in any order, as for Unicode.
    """
    words = (re.findall("[\u064b-\u0652]+|.", word) for word in block.split())
    inside = r"[ \n]?" if language in UNSPACED else ""
    return r"\s+".join(inside.join(map(letter_pattern, word)) for word in words)


def letter_pattern(letters: str) -> str:
    return re.escape(letters) if len(letters) == 1 else f"[{letters}]{{{len(letters)}}}"


def places_in(text: str, blocks, language: str) -> list[int]:
    """Return where each block is in a printed text, after a check that there is nothing else."""
    places, at = [], 0
    for block in blocks:
        found = re.compile(rf"\s*({matcher(block, language)})").match(text, at)
        assert found, (block, text[at : at + len(block) + 20])
        places.append(found.start(1))
        at = found.end()
    assert not text[at:].strip()
    return places


@pytest.mark.parametrize(("source", "name"), CASES)
def test_a_file_is_read_as_a_whole(source, name):
    content = content_of(name, (FILES / source.language / name).read_bytes())
    expected = {**EXPECTED, **PRINTED}[name](source)
    if name in PRINTED:
        starts = places_in(content.text, expected.blocks, source.language)
    else:
        assert content.text == "\n\n".join(expected.blocks)
        starts = [sum(len(b) + 2 for b in expected.blocks[:i]) for i in range(len(expected.blocks))]
    assert content.title == expected.title
    assert content.notes == ()
    assert content.pages == tuple(starts[number] for number in expected.pages)
    assert [h.level for h in content.headings] == [level for level, _ in expected.headings]
    for heading, (_, number) in zip(content.headings, expected.headings, strict=True):
        block = expected.blocks[number]
        assert starts[number] <= heading.start <= starts[number] + len(block)
        assert "".join(heading.title.split()) in "".join(block.split())
    parts = {part.name: content_of(part.name, part.data).text for part in content.parts}
    assert parts == expected.parts


def test_the_corpus_has_every_format():
    folders = {folder.name: {path.name for path in folder.iterdir()} for folder in FILES.iterdir()}
    assert set(folders) == {source.language for source in SOURCES}
    assert all(names == {*EXPECTED, *PRINTED} for names in folders.values())
