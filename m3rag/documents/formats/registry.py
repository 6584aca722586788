"""The file formats that m3rag reads. A new format is one module and one entry in `FORMATS`.

Other packages add formats by entry points of the group "m3rag.formats": the name is the suffix of
the files without its dot, the value the function that parses them, as `parse(data, budget)`:

    [project.entry-points."m3rag.formats"]
    org = "my_package.org:parse"

The package is imported in the parser process with the first such file, so one that is broken costs
only its own files. Suffixes that m3rag itself reads stay with m3rag.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from m3rag.documents.formats.content import Budget, Content
from m3rag.errors import DocumentError
from m3rag.extras import require
from m3rag.limits import brief

EXTRA = "documents"
"""The extra that installs the libraries for all formats but Markdown and text."""
GROUP = "m3rag.formats"
"""The group of the entry points by which other packages add formats."""


@dataclass(frozen=True, slots=True)
class Format:
    """A file format.

    Attributes:
        name: The name of the format, which documents have as `metadata["format"]`.
        suffixes: The suffixes of its files, in lower case.
        binary: Whether the parser takes bytes; otherwise it takes decoded text.
        module: The module with its parser; None keeps the text unchanged.
        needs: The modules that its parser imports from the extra `documents`.
        budget: Whether the parser of a text takes the budget too, as all that take bytes do.
        function: The name of the parser in its module: `parse(data) -> Content`, or
            `parse(data, budget) -> Content`.
        package: The package that brings the parser; None for m3rag itself.
        image: Whether its files are images, which count as documents only with OCR.
    """

    name: str
    suffixes: tuple[str, ...]
    binary: bool = False
    module: str | None = None
    needs: tuple[str, ...] = ()
    budget: bool = False
    function: str = "parse"
    package: str | None = None
    image: bool = False

    def parse(self, data: Any, budget: Budget) -> Content:
        """Parse a file's bytes or text; call `check` first."""
        if self.module is None:
            return Content(data)
        parser = self._parser(self.module)
        content = parser(data, budget) if self.binary or self.budget else parser(data)
        if not isinstance(content, Content):
            raise DocumentError(
                f"the package {self.package!r} returned {type(content).__name__}, not Content. "
                "Update or uninstall it."
            )
        return content

    def _parser(self, module: str) -> Any:
        """Import the parser. Parsers are slow to import, so each waits for its first file."""
        try:
            found: Any = import_module(module)
            for name in self.function.split("."):
                found = getattr(found, name)
        except Exception as error:
            if self.package is None:
                raise
            raise DocumentError(
                f"the package {self.package!r}, which reads {self.suffixes[0]} files, cannot be "
                f"loaded: {type(error).__name__}: {brief(error)}. Repair or uninstall it."
            ) from error
        return found

    def check(self) -> None:
        """Check that the libraries of the parser are installed, without importing them.

        Raises:
            MissingExtraError: A library is not installed; the message has the exact pip command.
        """
        for module in self.needs:
            if find_spec(module) is None:
                require(module, EXTRA)


_PACKAGE = "m3rag.documents.formats"

FORMATS: tuple[Format, ...] = (
    Format("markdown", (".md", ".markdown", ".mdx"), module=f"{_PACKAGE}.markdown"),
    Format("text", (".txt",)),
    Format("html", (".html", ".htm", ".xhtml"), module=f"{_PACKAGE}.html", needs=("bs4", "lxml")),
    Format("pdf", (".pdf",), binary=True, module=f"{_PACKAGE}.pdf", needs=("pypdfium2", "lxml")),
    Format(
        "docx",
        (".docx", ".docm", ".dotx"),
        binary=True,
        module=f"{_PACKAGE}.docx",
        needs=("docx",),
    ),
    Format(
        "pptx",
        (".pptx", ".pptm", ".ppsx"),
        binary=True,
        module=f"{_PACKAGE}.pptx",
        needs=("lxml",),
    ),
    Format(
        "spreadsheet",
        (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"),
        binary=True,
        module=f"{_PACKAGE}.spreadsheet",
        needs=("python_calamine",),
    ),
    Format("notebook", (".ipynb",), module=f"{_PACKAGE}.notebook"),
    Format("xml", (".xml",), binary=True, module=f"{_PACKAGE}.xml", needs=("lxml",)),
    Format("rst", (".rst",), module=f"{_PACKAGE}.rst"),
    Format("tex", (".tex",), module=f"{_PACKAGE}.tex", budget=True),
    Format("csv", (".csv", ".tsv"), module=f"{_PACKAGE}.csv", budget=True),
    Format("json", (".json", ".jsonl", ".ndjson"), module=f"{_PACKAGE}.json", budget=True),
    Format("mail", (".eml",), binary=True, module=f"{_PACKAGE}.mail", needs=("bs4", "lxml")),
    Format("mbox", (".mbox",), binary=True, module=f"{_PACKAGE}.mbox"),
    Format("msg", (".msg",), binary=True, module=f"{_PACKAGE}.msg", needs=("oxmsg", "bs4", "lxml")),
    Format("zip", (".zip",), binary=True, module=f"{_PACKAGE}.zip"),
    Format("rtf", (".rtf",), binary=True, module=f"{_PACKAGE}.rtf", needs=("striprtf",)),
    Format("epub", (".epub",), binary=True, module=f"{_PACKAGE}.epub", needs=("bs4", "lxml")),
    Format(
        "opendocument",
        (".odt", ".odp"),
        binary=True,
        module=f"{_PACKAGE}.opendocument",
        needs=("bs4", "lxml"),
    ),
    Format(
        "image",
        (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"),
        binary=True,
        module=f"{_PACKAGE}.image",
        image=True,
    ),
)
_CODE = {
    "python": ".py .pyi",
    "javascript": ".js .mjs .cjs .jsx",
    "typescript": ".ts .mts .cts .tsx",
    "java": ".java",
    "kotlin": ".kt .kts",
    "scala": ".scala",
    "groovy": ".groovy .gradle",
    "c": ".c .h",
    "cpp": ".cpp .cc .cxx .hpp .hh .hxx",
    "csharp": ".cs",
    "dart": ".dart",
    "go": ".go",
    "rust": ".rs",
    "swift": ".swift",
    "ruby": ".rb",
    "php": ".php",
    "perl": ".pl .pm",
    "lua": ".lua",
    "r": ".r",
    "julia": ".jl",
    "elixir": ".ex .exs",
    "shell": ".sh .bash .zsh",
    "powershell": ".ps1 .psm1",
    "sql": ".sql",
}
CODE = tuple(
    Format(
        language,
        tuple(suffixes.split()),
        module=f"{_PACKAGE}.code",
        needs=("pygments",),
        function=f"Language.{language.upper()}.parse",
    )
    for language, suffixes in _CODE.items()
)
"""The formats of source code, each with the name of its language."""
_OWN = {suffix: form for form in (*FORMATS, *CODE) for suffix in form.suffixes}


def format_for(suffix: str, *, images: bool = True) -> Format | None:
    """Return the format of the files with a suffix, or None if there is none.

    Only a suffix that is not m3rag's own makes it look for other packages, which takes a while.

    Args:
        suffix: The suffix, in lower case.
        images: Whether images have one.
    """
    form = _OWN.get(suffix) or by_suffix().get(suffix)
    return None if form is not None and form.image and not images else form


@cache
def by_suffix() -> Mapping[str, Format]:
    """Return the formats of m3rag and of other packages, by the suffix of their files."""
    from importlib.metadata import entry_points  # imports a third of the modules of this process

    found = dict(_OWN)
    for entry in entry_points(group=GROUP):
        name = entry.name.lower().removeprefix(".")
        package = entry.dist.name if entry.dist else entry.module.split(".")[0]
        form = Format(
            name,
            (f".{name}",),
            binary=True,
            module=entry.module,
            function=entry.attr or "parse",
            package=package,
        )
        found.setdefault(f".{name}", form)
    return found
