"""Writers of the formats that are text: each returns a file of one source."""

import csv
import io
import json
from collections.abc import Iterator
from html import escape

from tests.documents.corpus.texts import Source


def plain_files(source: Source) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each file."""
    page = html(source)
    yield "page.html", page.encode()
    yield "old-page.htm", html(source, source.encoding).encode(source.encoding)
    yield "text.txt", text(source).encode()
    yield "text-16.txt", text(source).encode("utf-16-le")
    yield "text.md", markdown(source).encode()
    yield "text.rst", rst(source).encode()
    yield "text.tex", tex(source).encode()
    yield "text.xml", xml(source).encode()
    yield "text.ipynb", notebook(source).encode()
    yield "program.js", program(source).encode()
    yield "rows.csv", rows(source, ",").encode()
    yield "rows.tsv", rows(source, "\t").encode()
    yield "records.json", json.dumps(records(source), ensure_ascii=False).encode()
    lines = (json.dumps(record) for record in records(source))
    yield "records.jsonl", "\n".join(lines).encode()


def html(source: Source, encoding: str = "utf-8") -> str:
    """Return a page, with the menu and the scripts that pages have."""
    direction = "rtl" if source.right_to_left else "ltr"
    items = "".join(f"<li>{escape(item)}</li>" for item in source.items)
    cells = "".join(
        f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in row)}</tr>"
        for tag, row in zip(("th", "td", "td"), source.table, strict=True)
    )
    return f"""<!doctype html><html lang="{source.language}" dir="{direction}"><head>
<meta charset="{encoding}"><title>{escape(source.title)}</title>
<style>@page{{size:A5}} body{{font-family:sans-serif}} table,td,th{{border:1px solid;
border-collapse:collapse}} h2.page{{break-before:page}} nav{{display:none}}</style>
<script>menu("script")</script></head><body><nav><a href="/">Menu</a></nav>
<h1>{escape(source.title)}</h1>
<p>{escape(source.intro)}</p>
<h2>{escape(source.list_title)}</h2>
<ul>{items}</ul>
<p>{escape(source.noted)}<sup>1</sup></p>
<p>{escape(source.note)}</p>
<h2>{escape(source.table_title)}</h2>
<table>{cells}</table>
<h2 class="page">{escape(source.page_title)}</h2>
<p>{escape(source.closing)}</p>
</body></html>
"""


def text(source: Source) -> str:
    """Return the paragraphs."""
    parts = (source.title, source.intro, *source.items, source.noted, source.closing)
    return "\n\n".join(parts) + "\n"


def markdown(source: Source) -> str:
    """Return Markdown with front matter, a note and a table."""
    return "\n".join(
        (
            f'---\ntitle: "{source.title}"\n---\n',
            f"# {source.title}\n\n{source.intro}\n",
            f"## {source.list_title}\n",
            *(f"- {item}" for item in source.items),
            f"\n{source.noted}[^1]\n\n[^1]: {source.note}\n",
            f"## {source.table_title}\n",
            *bars(source),
            f"\n{source.page_title}\n{'-' * 20}\n\n{source.closing}\n",
        )
    )


def bars(source: Source) -> list[str]:
    """Return the table of Markdown."""
    head, *rest = (f"| {' | '.join(row)} |" for row in source.table)
    return [head, "|---|---|---|", *rest]


def rst(source: Source) -> str:
    """Return reStructuredText."""
    items = "\n".join(f"* {item}" for item in source.items)
    head, line = "=" * 60, "-" * 60
    return (
        f"{head}\n{source.title}\n{head}\n\n{source.intro}\n\n{source.list_title}\n{line}\n\n"
        f"{items}\n\n{source.noted} [#]_\n\n.. [#] {source.note}\n\n{source.page_title}\n{line}\n\n"
        f"{source.closing}\n"
    )


def tex(source: Source) -> str:
    """Return LaTeX."""
    title, intro, noted, closing = (
        part.replace("%", r"\%")
        for part in (source.title, source.intro, source.noted, source.closing)
    )
    items = "\n".join(f"\\item {item}" for item in source.items)
    cells = "\n".join(f"{' & '.join(row)} \\\\" for row in source.table)
    return rf"""\documentclass{{article}}
\title{{{title}}}
\begin{{document}}
\maketitle
{intro} % a comment
\section{{{source.list_title}}}
\begin{{itemize}}
{items}
\end{{itemize}}

{noted}\footnote{{{source.note}}}
\section{{{source.table_title}}}
\begin{{tabular}}{{lll}}
\hline
{cells}
\end{{tabular}}
\newpage
\section{{{source.page_title}}}
{closing}
\end{{document}}
"""


def xml(source: Source) -> str:
    """Return an article of DocBook."""
    items = "".join(f"<listitem><para>{escape(item)}</para></listitem>" for item in source.items)
    cells = "".join(
        f"<row>{''.join(f'<entry>{escape(cell)}</entry>' for cell in row)}</row>"
        for row in source.table
    )
    return f"""<?xml version="1.0" encoding="utf-8"?>
<article xmlns="http://docbook.org/ns/docbook" xml:lang="{source.language}">
<title>{escape(source.title)}</title><para>{escape(source.intro)}</para>
<section><title>{escape(source.list_title)}</title><itemizedlist>{items}</itemizedlist>
<para>{escape(source.noted)}</para></section>
<section><title>{escape(source.table_title)}</title>
<informaltable><tgroup cols="3"><tbody>{cells}</tbody></tgroup></informaltable></section>
<section><title>{escape(source.page_title)}</title><para>{escape(source.closing)}</para></section>
</article>
"""


def notebook(source: Source) -> str:
    """Return a notebook with Markdown, code, and an output that is not read."""
    output = {"output_type": "stream", "name": "stdout", "text": ["output"]}
    code = f'title = "{source.title}"\nprint(title)'
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": f"# {source.title}\n\n{source.intro}"},
        {"cell_type": "code", "metadata": {}, "source": code, "outputs": [output],
         "execution_count": 1},
        {"cell_type": "markdown", "metadata": {}, "source": source.closing.splitlines(True)},
    ]  # fmt: skip
    metadata = {"language_info": {"name": "python"}}
    return json.dumps(
        {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5},
        ensure_ascii=False,
    )


def program(source: Source) -> str:
    """Return source code with comments and a text."""
    return f"""// {source.title}

/** {source.intro} */
class Pump {{
  // {source.note}
  run() {{
    return "{source.closing}";
  }}
}}
"""


def rows(source: Source, delimiter: str) -> str:
    """Return the table with a delimiter between its cells, and a cell that needs quotes."""
    output = io.StringIO()
    writer = csv.writer(output, delimiter=delimiter)
    writer.writerows(source.table)
    writer.writerow((source.title, f'{source.noted}\n"{source.note}"', source.closing))
    return output.getvalue()


def records(source: Source) -> list[dict[str, object]]:
    """Return records with values in values."""
    return [
        {"id": source.language, "title": source.title, "text": {"body": source.intro}},
        {"id": f"{source.language}-2", "title": source.page_title, "tags": list(source.items)},
    ]
