"""The file formats that m3rag reads. A new format is one module and one entry in `FORMATS`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from m3rag.documents.formats.content import Budget, Content
from m3rag.extras import require

EXTRA = "documents"
"""The extra that installs the libraries for HTML, PDF and Word files."""


@dataclass(frozen=True, slots=True)
class Format:
    """A file format.

    Attributes:
        name: The name of the format, which documents have as `metadata["format"]`.
        suffixes: The suffixes of its files, in lower case.
        binary: Whether the parser takes bytes; otherwise it takes decoded text.
        module: The module with its `parse(data) -> Content`; None keeps the text unchanged.
        needs: The modules that its parser imports from the extra `documents`.
    """

    name: str
    suffixes: tuple[str, ...]
    binary: bool = False
    module: str | None = None
    needs: tuple[str, ...] = ()

    def parse(self, data: Any, budget: Budget) -> Content:
        """Parse a file's bytes or text; call `check` first."""
        if self.module is None:
            return Content(data)
        # Parsers are slow to import, so each is imported with the first file of its format.
        module = import_module(self.module)
        content: Content = module.parse(data, budget) if self.binary else module.parse(data)
        return content

    def check(self) -> None:
        """Check that the libraries of the parser are installed, without importing them.

        Raises:
            MissingExtraError: A library is not installed; the message has the exact pip command.
        """
        for module in self.needs:
            if find_spec(module) is None:
                require(module, EXTRA)


_PACKAGE = "m3rag.documents.formats"

FORMATS = (
    Format("markdown", (".md", ".markdown"), module=f"{_PACKAGE}.markdown"),
    Format("text", (".txt",)),
    Format("html", (".html", ".htm"), module=f"{_PACKAGE}.html", needs=("bs4", "lxml")),
    Format("pdf", (".pdf",), binary=True, module=f"{_PACKAGE}.pdf", needs=("pypdf",)),
    Format("docx", (".docx",), binary=True, module=f"{_PACKAGE}.docx", needs=("docx",)),
)
BY_SUFFIX = {suffix: form for form in FORMATS for suffix in form.suffixes}
