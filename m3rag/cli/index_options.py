"""The options of `m3rag index`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from m3rag.cli.visible import line
from m3rag.errors import InputError
from m3rag.limits import DEFAULT_LIMITS, Limits

if TYPE_CHECKING:
    from m3rag.index.manifest import ColbertMode, ContextMode

STDIN_NAME = "stdin.txt"
"""The name of the document on standard input, unless another is given."""
_SIZE = re.compile(r"([0-9]{1,15})(?:\.([0-9]{1,6}))?\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


@dataclass(frozen=True)
class IndexOptions:
    """How `m3rag index` splits documents, and the modes of a new knowledge base."""

    model: str | None = field(
        default=None,
        metadata={
            "help": 'Model: BAAI/bge-m3 or another hub id, a folder, "small" or "tiny" (both '
            'offline). Defaults to the model of the knowledge base, or to "small" for a new one.'
        },
    )
    max_tokens: int | None = field(
        default=None,
        metadata={
            "help": "Maximum passage length in model tokens; at least 16. Defaults to the length "
            "that suits the model: 512 for BGE-M3."
        },
    )
    overlap: int | None = field(
        default=None,
        metadata={
            "help": "Tokens that adjacent passages may share; less than half of --max-tokens. "
            "Defaults to an eighth of it."
        },
    )
    colbert: ColbertMode | None = field(
        default=None,
        metadata={
            "help": "ColBERT vectors of a new knowledge base: stored (default), on-demand "
            "(computed for each query; small on disk) or off."
        },
    )
    context: ContextMode | None = field(
        default=None,
        metadata={
            "help": "How a new knowledge base encodes passages: each alone (passage, default), "
            "or those of a document together (document)."
        },
    )
    exclude: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Leave out what matches a pattern with the syntax of .gitignore, such as "
            "drafts/ or *.log; !node_modules includes what is left out by default; repeat it for "
            "several. Files named .m3ragignore have such patterns, too."
        },
    )
    follow_links: bool = field(
        default=False,
        metadata={
            "option": "--follow-links",
            "help": "Follow symbolic links to folders, and to files outside the folder.",
        },
    )
    encoding: str | None = field(
        default=None,
        metadata={
            "help": "Encoding of text files that are not UTF-8 and do not say what they are, such "
            "as windows-1251 or shift_jis. Without it, such files are not indexed."
        },
    )
    ocr: str | None = field(
        default=None,
        metadata={
            "help": "Languages in which Tesseract reads scans and images, such as eng+ara. Without "
            "it, they are not read."
        },
    )
    text_field: tuple[str, ...] = field(
        default=(),
        metadata={
            "help": "Field of the records of .csv, .json and .jsonl files that is text; a.b is "
            "field b of field a; repeat it for several. Without it, all fields are read."
        },
    )
    id_field: str | None = field(
        default=None,
        metadata={"help": "Field of these records that names a record, as its heading."},
    )
    max_file_size: str = field(
        default="256MB",
        metadata={"help": "Size of the largest file to read, in bytes or as in 500K, 64MB or 1G."},
    )
    max_seconds: float = field(
        default=DEFAULT_LIMITS.reader_seconds,
        metadata={"help": "Seconds that reading a document may take, without long PDF files."},
    )

    watch: bool = field(
        default=False,
        metadata={
            "option": "--watch",
            "help": "Go on until Ctrl-C: index each change of the folder as it happens.",
        },
    )
    name: str | None = field(
        default=None,
        metadata={
            "help": "Name of the document on standard input (m3rag index -), with the suffix of "
            f"its format, such as report.pdf. Defaults to {STDIN_NAME}."
        },
    )

    def of_listing(self) -> dict[str, Any]:
        """Return the options by which documents are found, as arguments of `list_folder`."""
        return {
            "exclude": self.exclude,
            "follow_links": self.follow_links,
            "limits": self.limits(),
            "ocr": self.ocr,
        }

    def of_sync(self) -> dict[str, Any]:
        """Return all options as arguments of `sync`."""
        from m3rag.documents import Fields

        return {
            **self.of_listing(),
            "max_tokens": self.max_tokens,
            "overlap": self.overlap,
            "fields": Fields(tuple(self.text_field), self.id_field),
            "encoding": self.encoding,
        }

    def limits(self) -> Limits:
        """Return the limits for documents.

        Raises:
            InputError: A value is no size or is out of range.
        """
        size = parse_size(self.max_file_size)
        return replace(DEFAULT_LIMITS, file_bytes=size, reader_seconds=self.max_seconds)


def parse_size(text: str) -> int:
    """Return a size such as "64MB" as a number of bytes; 1 KB is 1,024 bytes.

    Raises:
        InputError: The text is no size, or one of less than a byte.
    """
    found = _SIZE.fullmatch(text.strip())
    size = int(float(f"{found[1]}.{found[2] or 0}") * 2 ** _UNITS[found[3].upper()]) if found else 0
    if size < 1:
        raise InputError(
            f"{line(text, most=40)!r} is no size. Use a size such as 500K, 64MB or 1G."
        )
    return size
