"""A folder such as a company has: every format in eight languages, nested, some of it odd.

Each document has a word that no other set of documents has, so that a search can name it.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.documents.corpus.mail import packed_files
from tests.documents.corpus.office import office_files
from tests.documents.corpus.plain import plain_files
from tests.documents.corpus.texts import SOURCES, Source
from tests.documents.pdf_writer import pdf

_SYLLABLES = ("ba", "ke", "lu", "mo", "ni", "pa", "ri", "so", "tu", "ve", "wa", "zi")
_OTHER = (".psd", ".psd", ".psd", ".mp4", ".mp4", ".dwg", ".exe", "")
_EXCLUDED = {  # by name: what is written there
    ".git/": ".git/config.txt",
    "node_modules/": "node_modules/lib/readme.md",
    "drafts/": "drafts/plan.md",
    "offices/~$plan.docx": "offices/~$plan.docx",
}
_BROKEN = {
    "empty.md": b"",
    "binary.txt": bytes(60),
    "page.pdf": b"<html><p>A page</p>",
    "half.docx": b"PK\3\4" + bytes(30),
    "image.html": b"\x89PNG\r\n\x1a\n" + bytes(30),
    "old.txt": "Насос работает".encode("cp1251"),
    "list.json": b'{"a": ',
}


@dataclass(slots=True)
class Expected:
    """What a sync must report, by document id.

    Attributes:
        added: New documents.
        replaced: Changed ones.
        removed: Deleted ones.
        renamed: The new id by the old one.
        read: Those of `added` and `replaced` that must be read and encoded.
    """

    added: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    renamed: dict[str, str] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)


class MixedFolder:
    """The folder, and what an index of it must say.

    Args:
        root: Where to make it; it must not exist.
        sets: The number of sets of files; each set is one text in all formats.
        seed: The seed of all chances.
        plain: Whether to write only the formats that are text: 13 files in a set instead of 24.

    Attributes:
        words: The word of each readable document, by document id.
        copies: The documents that were made as copies of another one.
        broken: The documents that cannot be read.
        skipped: The entries that are no documents.
        other: The number of files of each kind that is not read.
        excluded: The entries that patterns exclude.
    """

    def __init__(self, root: Path, sets: int, *, seed: int = 1, plain: bool = False) -> None:
        self.root, self.name = root, root.name
        self._plain = plain
        self._rng = random.Random(seed)
        self._numbers = count()
        self.words: dict[str, str] = {}
        self.copies: set[str] = set()
        self._copied: set[str] = set()  # copies, and what they are copies of
        self.broken: set[str] = set()
        self.skipped: set[str] = set()
        self.excluded: set[str] = set()
        self.other: Counter[str] = Counter()
        for number in range(sets - 1):
            folder = f"offices/{number % 7}/{2020 + number % 5}/set {number:03}"
            self._write_set(folder, SOURCES[number % len(SOURCES)])
        for name in self._rng.sample(sorted(self.words), max(3, len(self.words) // 25)):
            self._copy(name)
        self._write_set("archive", SOURCES[sets % len(SOURCES)])
        self._write_odd(max(1, sets // 10))

    def __len__(self) -> int:
        """Return the number of files."""
        return sum(len(files) for _, _, files in os.walk(self.root))

    def change(self) -> Expected:
        """Change, rotate, delete, add and rename some documents, and rename a folder."""
        expected = Expected()
        archive = [name for name in self.words if name.startswith(f"{self.name}/archive/")]
        single = [name for name in self.words if name not in {*self._copied, *archive}]
        texts = [name for name in single if name.endswith(("/text.md", "/text.rst"))]
        self._rng.shuffle(texts)
        some = len(texts) // 5
        for name in texts[:some]:
            self._rewrite(name)
            expected.replaced.add(name)
        for name in texts[some : 2 * some]:
            self._path(name).unlink()
            del self.words[name]
            expected.removed.add(name)
        for old in texts[2 * some : 3 * some]:
            suffix = Path(old).suffix
            self._rename(old, f"{self.name}/moved/{len(expected.renamed)}{suffix}", expected)
        one, two, three = [name for name in single if name.endswith(".txt")][:3]
        for old, new in ((two, three), (one, two)):  # as old logs are rotated
            shutil.copy(self._path(old), self._path(new))
            self.words[new] = self.words[old]
        self._rewrite(one)
        expected.replaced |= {one, two, three}
        for number in range(some):
            name = f"{self.name}/new/{number}.md"
            self._rewrite(name)
            expected.added.add(name)
        expected.read = {*expected.added, *expected.replaced} - {two, three}
        for old in archive:
            self._rename(old, old.replace("/archive/", "/archive 2026/"), expected)
        return expected

    def empty(self) -> None:
        """Delete everything in the folder."""
        for path in self.root.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _write_set(self, folder: str, source: Source) -> None:
        word = self._word()
        source = source._replace(
            title=f"{source.title} {word}",
            intro=f"{word} {source.intro}",
            closing=f"{source.closing} {word}",
        )
        files = dict(plain_files(source))
        if not self._plain:
            files |= office_files(source)
            files |= packed_files(source, files)
            files["printed.pdf"] = pdf(f"{word} waters the ferns.")
        for name, data in files.items():
            self._write(f"{folder}/{name}", data)
            self.words[f"{self.name}/{folder}/{name}"] = word

    def _write_odd(self, groups: int) -> None:
        for group in range(groups):
            for name, data in _BROKEN.items():
                # A file that is as broken as another one is reported for itself, too.
                self._write(f"odd/{group}/{name}", data)
                self.broken.add(f"{self.name}/odd/{group}/{name}")
            for number, suffix in enumerate(_OTHER):
                self._write(f"odd/{group}/file{number}{suffix}", b"x")
                self.other[suffix] += 1
        for entry, name in _EXCLUDED.items():
            self._write(name, b"Excluded.")
            self.excluded.add(f"{self.name}/{entry}")
        self._write(".m3ragignore", b"# Not ready\ndrafts/\n")
        os.mkfifo(self.root / "odd" / "pipe.md")
        self.skipped.add(f"{self.name}/odd/pipe.md")
        (self.root / "odd" / "gone.md").symlink_to("nowhere")
        self.broken.add(f"{self.name}/odd/gone.md")

    def _copy(self, name: str) -> None:
        copy = f"copies/{next(self._numbers)}/{Path(name).name}"
        self._write(copy, self._path(name).read_bytes())
        self.copies.add(f"{self.name}/{copy}")
        self._copied |= {name, f"{self.name}/{copy}"}
        self.words[f"{self.name}/{copy}"] = self.words[name]

    def _rewrite(self, name: str) -> None:
        word = self._word()
        self._write(name.removeprefix(f"{self.name}/"), f"# Plan\n\n{word} is new.\n".encode())
        self.words[name] = word

    def _rename(self, old: str, new: str, expected: Expected) -> None:
        self._path(new).parent.mkdir(parents=True, exist_ok=True)
        self._path(old).rename(self._path(new))
        self.words[new] = self.words.pop(old)
        expected.renamed[old] = new

    def _word(self) -> str:
        """Return a word of six syllables, which no other text has."""
        return "".join(self._rng.choices(_SYLLABLES, k=6)).capitalize()

    def _path(self, name: str) -> Path:
        return self.root / name.removeprefix(f"{self.name}/")

    def _write(self, name: str, data: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
