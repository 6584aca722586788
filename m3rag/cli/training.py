"""`m3rag train`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from m3rag.errors import InputError
from m3rag.training.settings import TrainingSettings

app = typer.Typer(
    rich_markup_mode="rich",
    epilog="Try it offline: [bold]m3rag train --data pairs.jsonl --model tiny --to my-m3[/bold]; a "
    'line of pairs.jsonl is {"query": "…", "pos": ["…"]}. Hard negatives: '
    "[bold]m3rag train mine --help[/bold]",
)

Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON for machines.")]


@app.callback(invoke_without_command=True)
def train(
    context: typer.Context,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Examples, .jsonl[.gz|.zst]; repeat it for several files."),
    ] = None,
    to: Annotated[Path | None, typer.Option(help="The folder for the model; a new one.")] = None,
    model: Annotated[
        str, typer.Option(help='What to start from: a hub id, a folder, or "tiny".')
    ] = "BAAI/bge-m3",
    evaluation: Annotated[
        str | None,
        typer.Option(help="A held-out set to measure, as [bold]m3rag evaluate[/bold] takes it."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
    epochs: Annotated[float, typer.Option(help="How often each example is used.")] = 1.0,
    max_steps: Annotated[int | None, typer.Option(help="Optimizer steps at most.")] = None,
    minutes: Annotated[float | None, typer.Option(help="Training time at most.")] = None,
    batch: Annotated[int, typer.Option(help="Queries a step, on each GPU.")] = 64,
    group_size: Annotated[
        int, typer.Option(help="Passages of a query with negatives, the positive included.")
    ] = 8,
    token_budget: Annotated[
        int, typer.Option(help="Tokens in the network at once; less takes less memory.")
    ] = 8192,
    gradient_cache: Annotated[
        bool,
        typer.Option(
            help="A step with more tokens: encode its texts twice and keep all negatives, or "
            "split it."
        ),
    ] = True,
    gradient_checkpointing: Annotated[
        bool, typer.Option(help="Keep less of each layer in memory; slower. For long texts.")
    ] = False,
    in_batch_negatives: Annotated[
        bool, typer.Option(help="Take the other queries' passages as negatives.")
    ] = True,
    same_source: Annotated[bool, typer.Option(help="Fill a batch from one source.")] = False,
    source_power: Annotated[
        float, typer.Option(help="1: all examples alike; 0: all sources alike, small ones repeat.")
    ] = 1.0,
    max_query_length: Annotated[int, typer.Option(help="Tokens of a query.")] = 512,
    max_passage_length: Annotated[int, typer.Option(help="Tokens of a passage.")] = 512,
    learning_rate: Annotated[float, typer.Option(help="At its peak.")] = 1e-5,
    embedding_learning_rate: Annotated[
        float | None, typer.Option(help="That of the word embeddings, if another.")
    ] = None,
    warm_up: Annotated[float, typer.Option(help="Share of the run in which the rate rises.")] = 0.1,
    schedule: Annotated[
        str, typer.Option(help="How the rate falls: linear, cosine, constant.")
    ] = "linear",
    weight_decay: Annotated[float, typer.Option(help="Of matrices.")] = 0.01,
    clip: Annotated[float, typer.Option(help="The longest gradient.")] = 1.0,
    temperature: Annotated[float, typer.Option(help="What scores are divided by.")] = 0.02,
    distil: Annotated[bool, typer.Option(help="The views learn from their sum, too.")] = True,
    distil_from: Annotated[int, typer.Option(help="The step at which that begins.")] = 0,
    symmetric: Annotated[bool, typer.Option(help="Passages look for queries, too.")] = False,
    teacher: Annotated[
        str, typer.Option(help="pos_scores and neg_scores: none, kl_div, m3_kd_loss.")
    ] = "none",
    freeze: Annotated[
        list[str] | None,
        typer.Option(help="encoder, embeddings or positions stay as they are; repeatable."),
    ] = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16.")] = "auto",
    seed: Annotated[int, typer.Option(help="Of order, choice and dropout.")] = 0,
    save_every: Annotated[int, typer.Option(help="Steps between saves.")] = 500,
    evaluate_every: Annotated[
        int | None, typer.Option(help="Steps between measurements; always at the end.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train or fine-tune dense, sparse and ColBERT views together.

    Ctrl-C saves, and the same command goes on; so it does after a kill. Logs are in TO/training.
    """
    if context.invoked_subcommand is not None:
        return
    if not data or to is None:
        raise InputError("m3rag train needs --data FILE and --to FOLDER; see m3rag train --help.")
    given: dict[str, Any] = context.params
    settings = {field.name: given[field.name] for field in fields(TrainingSettings)}
    settings["freeze"] = tuple(freeze or ())
    from m3rag.cli.training_run import run

    run(data, to, model, TrainingSettings(**settings), evaluation, device, as_json=as_json)


@app.command()
def mine(
    data: Annotated[list[Path], typer.Option(help="Examples, .jsonl[.gz|.zst]; repeatable.")],
    to: Annotated[Path, typer.Option(help="The file to write, .jsonl[.gz|.zst].")],
    model: Annotated[
        str, typer.Option(help='What searches: a hub id, a folder, or "tiny".')
    ] = "BAAI/bge-m3",
    corpus: Annotated[
        Path | None,
        typer.Option(help='JSON lines with a "text" each, to search beside the data\'s passages.'),
    ] = None,
    negatives: Annotated[int, typer.Option(help="How many for an example, at most.")] = 7,
    ranks: Annotated[
        str, typer.Option("--range", help="First and last rank, answers not counted.")
    ] = "10-200",
    margin: Annotated[
        float | None, typer.Option(help="Score at least so far below the best answer's.")
    ] = None,
    scores: Annotated[
        bool, typer.Option("--scores", help="Write the model's scores, too, for --teacher.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the choice among the ranks.")] = 0,
    as_json: Json = False,
) -> None:
    """Find hard negatives: passages that the model takes for answers and that are none.

    Example: m3rag train mine --data pairs.jsonl --model tiny --range 2-50 --to mined.jsonl
    """
    first, dash, last = ranks.partition("-")
    if not (dash and first.isdigit() and last.isdigit()):
        raise InputError(f"--range {ranks!r}: two ranks are needed, such as 10-200.")
    from m3rag.cli.training_run import run_mining

    run_mining(
        data,
        to,
        model,
        corpus=corpus,
        negatives=negatives,
        ranks=(int(first), int(last)),
        margin=margin,
        scores=scores,
        seed=seed,
        as_json=as_json,
    )
