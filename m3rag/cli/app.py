"""The `m3rag` command: what it takes, and how it ends."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from m3rag import __version__
from m3rag.cli import training
from m3rag.errors import InputError, M3Error

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Cross-lingual question answering over long documents, with one BGE-M3 model.",
    epilog="Try it offline: [bold]m3rag index ./handbook --to kb --model tiny[/bold], then "
    '[bold]m3rag ask "¿Cómo riego la planta?" --in kb[/bold]',
)
app.add_typer(training.app, name="train")
errors = Console(stderr=True)

Folder = Annotated[Path, typer.Argument(help="A folder of .md .txt .html .pdf .docx documents.")]
To = Annotated[Path, typer.Option("--to", help="The knowledge base: a folder, made if needed.")]
In = Annotated[Path, typer.Option("--in", help="The knowledge base to use.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        help="key=value, key=a,b for any of several, or a JSON filter such as "
        '\'{"year": {"gte": 2020}}\'; repeated ones must all hold.',
    ),
]


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"m3rag {__version__}")
        raise typer.Exit


@app.command()
def index(
    folder: Folder,
    to: To,
    model: Annotated[
        str | None,
        typer.Option(
            help='A hub id, a folder, or "tiny" (bundled, not BGE-M3, works offline). '
            "An existing knowledge base knows its own; a new one takes BAAI/bge-m3."
        ),
    ] = None,
    max_tokens: Annotated[int, typer.Option(help="The longest passage, in model tokens.")] = 512,
    overlap: Annotated[int, typer.Option(help="Tokens that neighbours may share.")] = 64,
    colbert: Annotated[
        str | None,
        typer.Option(help="ColBERT vectors: stored (default), on-demand (small disk) or off."),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(
            help="Encode each passage alone (passage, default), or the passages of a document "
            "together, so that they have seen each other (document)."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Index a folder: new and changed documents are added, deleted ones removed.

    Run it again at any time, also after Ctrl-C: what is done is skipped.
    """
    from m3rag.cli.indexing import run

    run(
        folder,
        to,
        model=model,
        max_tokens=max_tokens,
        overlap=overlap,
        colbert=colbert,
        context=context,
        as_json=as_json,
    )


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="In any language the model knows.")],
    kb: In,
    k: Annotated[int, typer.Option("-k", help="How many passages.")] = 5,
    weights: Annotated[
        str, typer.Option(help="default, cross-lingual, long-document, or a tuned name.")
    ] = "cross-lingual",
    fusion: Annotated[str, typer.Option(help="weighted or rrf.")] = "weighted",
    filter_: Where = None,
    balance: Annotated[
        str | None,
        typer.Option(help="Favour no value of this metadata field, such as lang."),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            help="Say that nothing answers if the best score is lower; by default what "
            "tune calibrated for the weights."
        ),
    ] = None,
    neighbours: Annotated[
        int, typer.Option(help="Widen each passage by so many before and after it.")
    ] = 0,
    llm: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:CLASS[,KEY=VALUE…]",
            help="Let this language model write an answer: a class of LangChain or LlamaIndex.",
        ),
    ] = None,
    llm_url: Annotated[
        str | None,
        typer.Option(
            help="Or one behind an OpenAI-compatible URL, such as http://localhost:11434/v1; "
            "its key is taken from M3RAG_LLM_API_KEY."
        ),
    ] = None,
    llm_model: Annotated[str | None, typer.Option(help="The model's name at that URL.")] = None,
    llm_timeout: Annotated[float, typer.Option(help="Seconds to wait for that URL.")] = 120.0,
    as_json: Json = False,
) -> None:
    """Find the passages that answer a question, whatever their language."""
    from m3rag.cli.asking import run
    from m3rag.cli.writing import chosen

    run(
        question,
        kb,
        k=k,
        weights=weights,
        fusion=fusion,
        where=parse_filters(filter_),
        balance=balance,
        min_score=min_score,
        neighbours=neighbours,
        llm=chosen(llm, llm_url, llm_model, llm_timeout),
        as_json=as_json,
    )


@app.command()
def explain(
    question: Annotated[str, typer.Argument(help="In any language the model knows.")],
    kb: In,
    k: Annotated[int | None, typer.Option("-k", help="How many passages; 3.")] = None,
    passage: Annotated[
        str | None, typer.Option(help="The id of one passage, wherever it ranks.")
    ] = None,
    weights: Annotated[
        str, typer.Option(help="default, cross-lingual, long-document, or a tuned name.")
    ] = "cross-lingual",
    as_json: Json = False,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with highlights to this file.")
    ] = None,
) -> None:
    """Tell why passages are found: shares of the score, matched and aligned tokens."""
    from m3rag.cli.explaining import run

    run(question, kb, k=k, passage=passage, weights=weights, as_json=as_json, html=html)


@app.command()
def info(kb: In, as_json: Json = False) -> None:
    """Tell what a knowledge base holds and which model made it."""
    from m3rag.cli.upkeep import show

    show(kb, as_json=as_json)


@app.command()
def delete(
    kb: In,
    document: Annotated[
        list[str] | None, typer.Option(help="A document's id, as info lists them; repeatable.")
    ] = None,
    filter_: Where = None,
    as_json: Json = False,
) -> None:
    """Delete the passages of documents, or all that match a filter."""
    from m3rag.cli.upkeep import delete as run

    run(kb, documents=document or [], where=parse_filters(filter_), as_json=as_json)


@app.command()
def encode(
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts; without any, one a line from standard input.")
    ] = None,
    model: Annotated[str, typer.Option(help='A hub id, a folder, or "tiny".')] = "BAAI/bge-m3",
    colbert: Annotated[bool, typer.Option(help="Print the ColBERT vectors, too.")] = False,
    as_json: Json = False,
) -> None:
    """Show the three views of texts: one JSON object a line, or a table of the term weights."""
    from m3rag.cli.encoding import run

    if not texts:
        texts = [line.rstrip("\n") for line in sys.stdin]
    run(texts, model=model, colbert=colbert, as_json=as_json)


@app.command()
def evaluate(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SET",
            help="A folder with corpus.jsonl, queries.jsonl, qrels.tsv; or an id of ir_datasets.",
        ),
    ],
    model: Annotated[str, typer.Option(help='A hub id, a folder, or "tiny".')] = "BAAI/bge-m3",
    pairs: Annotated[
        str,
        typer.Option(
            help="all: each language of documents on its own; pooled: the whole corpus; "
            "or pairs such as es-en,de-en, query language first."
        ),
    ] = "all",
    level: Annotated[str, typer.Option(help="Rank each page or each passage.")] = "page",
    long: Annotated[
        str,
        typer.Option(
            help="passages: each is read alone; context: those of a document together; "
            "mcls: an <s> before every 256 tokens, for long passages."
        ),
    ] = "passages",
    aggregate: Annotated[
        str, typer.Option(help="A page is worth its best passage (max), or its best three (sum).")
    ] = "max",
    max_tokens: Annotated[int, typer.Option(help="The longest passage, in model tokens.")] = 512,
    channels: Annotated[
        str, typer.Option(help="Some of dense,sparse,colbert,bm25.")
    ] = "dense,sparse,colbert,bm25",
    weights: Annotated[
        list[str] | None,
        typer.Option(help="A fusion: a preset, rrf, or numbers such as 1/0.3/1; repeatable."),
    ] = None,
    metrics: Annotated[
        str, typer.Option(help="ndcg@k, recall@k and mrr@k.")
    ] = "ndcg@10,recall@1,recall@10,recall@100,mrr@10",
    every: Annotated[int, typer.Option(help="Take every N-th question only.")] = 1,
    runs: Annotated[Path | None, typer.Option(help="Write the rankings, in TREC's format.")] = None,
    run: Annotated[
        Path | None, typer.Option(help="Evaluate these rankings; no model is loaded.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="Test differences to a file of rankings, or to a row of the table."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Measure how good retrieval is, by a set of questions with known answers."""
    from m3rag.cli.evaluation import Asked
    from m3rag.cli.evaluation import run as start

    asked = Asked(
        source=source,
        model=model,
        pairs=pairs,
        level=level,
        long=long,
        aggregate=aggregate,
        max_tokens=max_tokens,
        channels=channels,
        weights=weights or (),
        metrics=metrics,
        every=every,
        run=run,
        against=against,
    )
    start(asked, as_json=as_json, html=html, runs=runs)


@app.command()
def tune(
    kb: In,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="QUESTIONS",
            help="A folder with queries.jsonl and qrels.tsv, or a .jsonl file of "
            '{"question", "document_id" or "passage_id"}.',
        ),
    ] = None,
    pseudo: Annotated[
        str | None,
        typer.Option(help="Without questions: take headings, or first sentences, for questions."),
    ] = None,
    name: Annotated[str, typer.Option(help="What the weights are called.")] = "tuned",
    precision: Annotated[
        float, typer.Option(help="The share of right answers to choose the score to answer from.")
    ] = 0.9,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Save nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Learn the weights of a knowledge base from questions with known answers."""
    from m3rag.cli.tuning import run

    run(
        source,
        kb,
        name=name,
        pseudo=pseudo,
        precision=precision,
        dry_run=dry_run,
        as_json=as_json,
    )


def parse_filters(given: list[str] | None) -> dict[str, Any] | None:
    """The `--filter` options as one filter for `M3Index.search`.

    Raises:
        InputError: an option is neither `key=value` nor a JSON object.
    """
    if not given:
        return None
    parts = []
    for text in given:
        if text.lstrip().startswith("{"):
            try:
                parts.append(json.loads(text))
            except ValueError as error:
                raise InputError(f"--filter {text!r} is not JSON: {error}.") from None
            continue
        key, sign, value = text.partition("=")
        if not (key and sign):
            raise InputError(f"--filter {text!r} is neither key=value nor a JSON object.")
        values = [_scalar(part) for part in value.split(",")]
        parts.append({key: values if len(values) > 1 else values[0]})
    return parts[0] if len(parts) == 1 else {"$and": parts}


def _scalar(text: str) -> str | int | float | bool:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str | int | float | bool) else text


def main() -> None:
    """Run the command; our own errors are a line, not a traceback."""
    try:
        app()
    except M3Error as error:
        errors.print(f"[bold red]Error:[/] {type(error).__name__}:", end=" ")
        errors.print(str(error), markup=False, highlight=False)
        raise SystemExit(1) from None
