"""Parsing a document's bytes: which process does it, and what counts as an error."""

from __future__ import annotations

from m3rag.documents.decoding import check_length, decoded
from m3rag.documents.encodings import declared_encoding
from m3rag.documents.formats.content import Budget, Content, clean
from m3rag.documents.formats.registry import Format
from m3rag.errors import DocumentError, MissingExtraError

# Plain text needs no parser, and Markdown of this size takes at most about a second.
_HERE = {"text": 1 << 62, "markdown": 64 << 10}
_SHOWN = 200  # characters of a parser's message


def in_this_process(data: bytes, form: Format) -> bool:
    """Return whether the document can be parsed here, because it takes neither time nor memory.

    Most parsers can be made to take minutes and gigabytes, or to crash.
    They run in another process, which ends when it reaches a limit.
    """
    return len(data) <= _HERE.get(form.name, -1)


def parse(data: bytes, form: Format, budget: Budget) -> Content:
    """Return the content of a document.

    Raises:
        DocumentError: The content is damaged, encrypted or too large. The message does not name
            the file.
        MissingExtraError: A library of the parser is not installed or cannot be imported.
    """
    try:
        given, notes = _input(data, form, budget)
        content = clean(form.parse(given, budget))
        content = content._replace(notes=(*notes, *content.notes))
    except (DocumentError, MissingExtraError):
        raise
    except MemoryError:
        raise too_much_memory(budget) from None
    except ImportError as error:
        raise MissingExtraError(
            f"A library for .{form.name} files cannot be imported: {error}. Install it again: "
            'pip install --force-reinstall "m3rag[documents]"'
        ) from error
    except Exception as error:  # parsers raise anything on a damaged file
        raise damaged(f"{type(error).__name__}: {error}") from error
    check_length(len(content.text), budget.limits)
    return content


def damaged(reason: str) -> DocumentError:
    """Return the error for a file that its parser cannot read."""
    shown = reason if len(reason) <= _SHOWN else f"{reason[:_SHOWN]}…"
    return DocumentError(
        f"it is damaged, or its suffix is wrong: {shown.rstrip('.')}. Open it in the program that "
        "created it and save it again."
    )


def too_much_memory(budget: Budget) -> DocumentError:
    """Return the error for a file whose parser needs more memory than the limit."""
    return DocumentError(
        f"its parser needs more than the limit of {budget.limits.reader_bytes:,} bytes of memory. "
        "Split it, or raise the limit: Limits(reader_bytes=…)."
    )


def too_slow(budget: Budget) -> DocumentError:
    """Return the error for a file whose parser needs more time than the limit."""
    return DocumentError(
        f"its parser needs more than the limit of {budget.limits.reader_seconds:g} seconds. Split "
        "it, or raise the limit: --max-seconds, or Limits(reader_seconds=…)."
    )


def _input(data: bytes, form: Format, budget: Budget) -> tuple[bytes | str, tuple[str, ...]]:
    """Return what a parser takes, and what was lost of it."""
    if form.binary:
        return data, ()
    declared = declared_encoding(data) if form.name == "html" else None
    return decoded(data, declared, budget.encoding, budget.limits)
