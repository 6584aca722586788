"""What the usual commands and environments of LaTeX mean for the text."""

SECTIONS = {
    "part": 1,
    "chapter": 1,
    "section": 1,
    "subsection": 2,
    "subsubsection": 3,
    "paragraph": 4,
    "subparagraph": 5,
}
"""The levels of headings, without those of chapters."""

_DROPPED = {
    1: "label includegraphics input include bibliography bibliographystyle usepackage vspace hspace"
    " pagestyle thispagestyle documentclass title author date thanks index vskip hypersetup"
    " addbibresource geometry RequirePackage graphicspath usetikzlibrary cline",
    2: "setlength addtolength newcommand renewcommand providecommand setcounter addtocounter"
    " definecolor newtheorem DeclareMathOperator rule fontsize",
    3: "newenvironment renewenvironment addcontentsline",
    0: "maketitle tableofcontents centering noindent hline toprule midrule bottomrule small large"
    " Large tiny footnotesize normalsize bfseries itshape ttfamily raggedright appendix indent"
    " listoffigures listoftables printbibliography frontmatter mainmatter backmatter protect",
}
DROPPED = {name: count for count, names in _DROPPED.items() for name in names.split()}
"""Commands that are no text, with the number of their arguments."""

_LINKED = "cite citep citet parencite textcite ref eqref autoref cref Cref pageref"
LINKED = frozenset(_LINKED.split())
"""Commands whose argument names something elsewhere."""

LISTS = {"itemize": None, "description": None, "enumerate": 0}
"""Lists; the number before their first item if they are numbered."""

TABLES = {"tabular": 1, "tabularx": 2, "longtable": 1, "array": 1, "tabular*": 2}
"""Tables, with the number of their arguments."""

_KEPT = "equation align gather multline eqnarray displaymath math tikzpicture"
KEPT_ENVIRONMENTS = frozenset(_KEPT.split())
"""Environments that stay as they are written."""

ACCENTS = dict(
    zip("`'^~\"=.uvHckbdr", "\u0300\u0301\u0302\u0303\u0308\u0304\u0307\u0306\u030c\u030b"
        "\u0327\u0328\u0331\u0323\u030a", strict=True)
)  # fmt: skip
"""Accents, as the combining characters that follow a letter."""

SYMBOLS = {
    "ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "o": "ø", "O": "Ø", "l": "ł", "L": "Ł",
    "aa": "å", "AA": "Å", "i": "ı", "j": "ȷ", "ldots": "…", "dots": "…", "textellipsis": "…",
    "LaTeX": "LaTeX", "TeX": "TeX", "textbackslash": "\\", "textasciitilde": "~", "S": "§",
    "textasciicircum": "^", "textbar": "|", "textless": "<", "textgreater": ">", "copyright": "©",
    "textendash": "–", "textemdash": "—", "pounds": "£", "euro": "€", "texteuro": "€", "P": "¶",
    "textquoteright": "’", "textdegree": "°", "degree": "°", "quad": " ", "qquad": " ",
    "newline": "\n", "linebreak": "\n", "textquoteleft": "‘", "guillemotleft": "«",
    "guillemotright": "»", "glqq": "„", "grqq": "“", "dag": "†", "ddag": "‡",
}  # fmt: skip
"""Commands that are characters."""
