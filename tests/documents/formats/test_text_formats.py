"""Notebooks, XML, reStructuredText and LaTeX."""

import json
import time
from itertools import pairwise

import pytest

from m3rag.documents import read, split
from m3rag.documents.formats.rst import parse as parse_rst
from m3rag.documents.formats.tex import parse as parse_tex
from tests.documents.conftest import assert_whole
from tests.documents.formats.conftest import SCRIPTS, assert_survives, refuses, titles

# Notebooks


def notebook(*cells, **metadata) -> str:
    dicts = [{"cell_type": kind, "metadata": {}, "source": source} for kind, source in cells]
    return json.dumps({"cells": dicts, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5})


def test_cells_are_read_in_order_without_outputs(write, tokenizer):
    cells = []
    for s, text in SCRIPTS.items():
        cells.append(("markdown", f"## {s}\n\n{text}\n"))
        cells.append(("code", [f"x = '{s}'\n", "print(x)\n"]))
    path = write("a.ipynb", notebook(*cells, language_info={"name": "python"}))
    document = read(path)
    assert document.text == "\n\n".join(
        f"## {s}\n\n{text}\n\n```python\nx = '{s}'\nprint(x)\n```" for s, text in SCRIPTS.items()
    )
    assert [title for _, title in document_titles(document)] == list(SCRIPTS)
    passages = split(document, tokenizer, max_tokens=64)
    assert_whole(document, passages, tokenizer, 64)
    with_outputs = json.loads(path.read_text())
    for cell in with_outputs["cells"]:
        cell["outputs"] = [{"output_type": "stream", "text": ["SECRET OUTPUT"]}]
    assert "SECRET" not in read(write("b.ipynb", json.dumps(with_outputs))).text


def document_titles(document):
    for heading in document.headings:
        assert document.text[heading.start :].startswith("#" * heading.level + f" {heading.title}")
    return [(heading.level, heading.title) for heading in document.headings]


def test_a_notebook_of_version_3_and_code_with_fences_are_read(write):
    cells = [{"cell_type": "heading", "level": 2, "source": "Old"},
             {"cell_type": "code", "input": "x = '''\n```\n'''"}]  # fmt: skip
    text = json.dumps({"worksheets": [{"cells": cells}], "metadata": {}, "nbformat": 3})
    document = read(write("a.ipynb", text))
    assert document.text == "Old\n\n````\nx = '''\n```\n'''\n````"
    assert titles(document) == [(2, "Old")]


@pytest.mark.parametrize("text", ['{"cells": ', "[1]", "{}", '{"worksheets": 3}', '{"cells": "x"}'])
def test_what_is_no_notebook_is_refused(write, text):
    refuses(write("a.ipynb", text), "no notebook|damaged")


# XML


def test_titles_paragraphs_and_tables_of_xml_are_read(write, tokenizer):
    sections = "".join(
        f"<section><title>{s}</title><para>{text} <emph>ja</emph>.</para><!-- no --></section>"
        for s, text in SCRIPTS.items()
    )
    table = "<table><row><entry>Plant</entry><entry>2</entry></row></table>"
    source = (
        f'<?xml version="1.0"?><book xml:lang="x"><title>Garden</title>{sections}{table}</book>'
    )
    document = read(write("a.xml", source))
    parts = (f"{s}\n\n{text} ja." for s, text in SCRIPTS.items())
    assert document.text == "Garden\n\n" + "\n\n".join(parts) + "\n\n| Plant | 2 |"
    assert titles(document) == [(1, "Garden"), *((2, script) for script in SCRIPTS)]
    assert_whole(document, split(document, tokenizer, max_tokens=40), tokenizer, 40)


def test_xml_may_have_an_encoding_and_entities_of_its_own(write, tmp_path):
    text = '<?xml version="1.0" encoding="windows-1251"?><a><b>Почва</b></a>'
    assert read(write("a.xml", text.encode("cp1251"))).text == "Почва"
    own = '<!DOCTYPE a [<!ENTITY plant "Moss">]><a>&plant; is green.</a>'
    assert read(write("b.xml", own)).text == "Moss is green."
    (tmp_path / "secret").write_text("secret")
    other = f'<!DOCTYPE a [<!ENTITY e SYSTEM "file://{tmp_path}/secret">]><a>x &e; y</a>'
    refuses(write("c.xml", other), "Entity 'e' not defined")
    known = '<!DOCTYPE a SYSTEM "docbook.dtd"><a>fr&uuml;h &lt;b&gt; &mdash; ja</a>'
    assert read(write("d.xml", known)).text == "früh <b> — ja"


def test_hostile_xml_is_refused(write):
    entities = "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in pairwise("abcdefghi"))
    laughs = f'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">{entities}]><x>&i;</x>'
    refuses(write("a.xml", laughs), "entity amplification")
    refuses(write("b.xml", "<a>" * 5_000 + "x" + "</a>" * 5_000), "[Dd]epth")
    assert_survives(f"<a><b>{'Moss ' * 40}</b></a>".encode(), ".xml", least=15)


# reStructuredText


def test_rst_stays_as_written_and_its_titles_are_found(write):
    text = (
        "=====\nGarden\n=====\n\nText.\n\nL'été *bleu*\n------------\n\n.. note:: x\n\n"
        "植物\n====\n\n植物在早晨浇水。\n\n:doc:`Water <water>` it\n~~~~~~~~~~~~~~~~~~~\n\n"
        "=====  =====\nA      B\n=====  =====\n1      2\n=====  =====\n\n----\n\nEnd\n\n"
        "עברית\n------\n"
    )
    document = read(write("a.rst", text))
    assert document.text == text
    assert [(h.level, h.title) for h in document.headings] == [
        (1, "Garden"), (2, "L'été bleu"), (3, "植物"), (4, "Water it"), (2, "עברית")]  # fmt: skip
    for heading in document.headings:
        assert text[heading.start :].split("\n")[1][0] in "=-~"
    assert document.metadata["title"] == "Garden"


def test_rst_takes_linear_time():
    start = time.process_time()
    assert len(parse_rst("Title\n=====\n\nText\n\n" * 40_000).headings) == 40_000
    parse_rst("=" * 1_000_000 + "x\n" + "`" * 100_000 + "\n====\n" + "*a " * 100_000 + "\n====\n")
    assert time.process_time() - start < 5


# LaTeX

TEX = r"""% \section{no}
\documentclass[a4paper]{article}
\title{The \emph{g\"arden}\thanks{me}}
\begin{document}
\maketitle
\section[short]{Les \'et\'es}\label{sec:a}
As Section~\ref{sec:a} says \cite{ana2020}, we \textbf{water {\it it}} in % hidden
summer\footnote{Twice a day.} --- ``not'' at $x < y$ \& \c{c}a va, na\"\i ve, 50\,\%.

New paragraph\\with a break. \verb|\foo{x}| \url{http://x.y/a_b}
\begin{itemize}
\item One
  \begin{enumerate}
  \item deep
  \item er
  \end{enumerate}
\item[two] Two
\end{itemize}
\begin{equation}
E = mc^2
\end{equation}
\subsection{Table}
\begin{tabular}{|l|r|}
\hline
Plant & Litres \\
Fern \& moss & 2 \\
\end{tabular}
\begin{verbatim}
for x in y: % kept
    \section{no}
\end{verbatim}
\begin{comment}
\section{no}
\end{comment}
\unknown{kept}
\end{document}
ignored"""


def test_latex_becomes_readable(write):
    document = read(write("a.tex", TEX))
    assert document.text == (
        "The gärden\n\nLes étés\n\n"
        "As Section [sec:a] says [ana2020], we water it in summer (Twice a day.) — “not” at "
        "$x < y$ & ça va, naïve, 50 %.\n\nNew paragraph\nwith a break. \\foo{x} http://x.y/a_b\n\n"
        "- One\n  1. deep\n  2. er\n- two Two\n\nE = mc^2\n\nTable\n\n"
        "| Plant | Litres |\n| Fern & moss | 2 |\n\n"
        "```\nfor x in y: % kept\n    \\section{no}\n```\n\nkept"
    )
    assert titles(document) == [(1, "The gärden"), (2, "Les étés"), (3, "Table")]
    assert document.metadata["title"] == "The gärden"


def test_latex_in_all_scripts(write, tokenizer):
    body = "\n".join(f"\\section{{{s}}}\n{text}\n" for s, text in SCRIPTS.items())
    document = read(write("a.tex", body))
    assert document.text == "\n\n".join(f"{s}\n\n{text}" for s, text in SCRIPTS.items())
    assert titles(document) == [(1, script) for script in SCRIPTS]
    assert_whole(document, split(document, tokenizer, max_tokens=32), tokenizer, 32)


@pytest.mark.parametrize(
    "text",
    ["{" * 50_000 + "Moss", "}" * 9 + "Moss", "\\begin{tabular}{l}Moss", "Moss\\", "$Moss",
     "Moss \\verb", "\\section{Moss", "\\" + "begin{itemize}" * 9 + "Moss", "\\'{a} Moss"],
)  # fmt: skip
def test_broken_latex_is_read(write, text):
    assert "Moss" in read(write("a.tex", text)).text or "{" * 50 in text


def test_latex_takes_linear_time():
    start = time.process_time()
    parse_tex("\\section{Moss}\n" + "{\\bf a} \\item \\begin{x} $ \\verb|" * 20_000)
    parse_tex("\\begin{verbatim}" * 20_000)
    assert time.process_time() - start < 5
