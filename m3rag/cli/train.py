"""`m3rag train` and `m3rag train mine`."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from m3rag.cli.common import installed
from m3rag.cli.options import DEFAULT_MODEL, settings_options
from m3rag.cli.output import Terminal, print_json
from m3rag.cli.pages import check_file
from m3rag.cli.reporting import parsing
from m3rag.errors import InputError
from m3rag.training.settings import TrainingSettings

if TYPE_CHECKING:
    from m3rag.training import Task, TrainingProgress


class _PlainHelp(TyperGroup):
    """A group with its help as plain text: a table would cut off the long options of `train`."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.rich_markup_mode = None


app = typer.Typer(
    cls=_PlainHelp,
    epilog="Try it offline: m3rag train --data pairs.jsonl --to my-m3. "
    'Each line of pairs.jsonl is {"query": "…", "pos": ["…"]}. Hard negatives: '
    "m3rag train mine --help",
)

Json = Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")]


@app.callback(invoke_without_command=True)
@settings_options(TrainingSettings, {"freeze": tuple}, types={"same_source": bool})
def train(
    typer_context: typer.Context,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="File of examples (.jsonl, .jsonl.gz or .jsonl.zst). Repeatable."),
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="Output folder: a new one, or that of a run to resume.")
    ] = None,
    model: Annotated[
        str, typer.Option(help='Model to start from: hub id, folder, "small" or "tiny".')
    ] = DEFAULT_MODEL,
    mix: Annotated[
        Path | None,
        typer.Option(
            help="TOML file of tasks, instead of --data: files with a share of the steps and "
            "settings of their own."
        ),
    ] = None,
    teacher_vectors: Annotated[
        Path | None,
        typer.Option(help="File of another model's vectors to learn from (.safetensors)."),
    ] = None,
    evaluation: Annotated[
        str | None,
        typer.Option(help="Held-out set to evaluate, in any form that m3rag evaluate accepts."),
    ] = None,
    device: Annotated[str, typer.Option(help="Device: auto, cpu, cuda, cuda:1, …")] = "auto",
    *,
    settings: TrainingSettings,
    as_json: Json = False,
) -> None:
    """Train or fine-tune the dense, sparse and ColBERT views together, or a cross-encoder.

    Ctrl-C saves the run. The same command resumes it, also after a kill. Logs are in TO/training.
    """
    if typer_context.invoked_subcommand is not None:
        return
    if bool(data) == (mix is not None) or to is None:
        raise InputError(
            "m3rag train needs --data FILE or --mix FILE, and --to FOLDER; see m3rag train --help."
        )
    from m3rag import training
    from m3rag.cli.bars import TrainingBar

    first = os.environ.get("RANK", "0") == "0"  # of the processes of `accelerate launch`
    errors = Terminal(stderr=True, quiet=not first)
    files: Sequence[Path | Task] = data or []
    if mix is not None:
        files = training.read_mix(mix)
    names = ", ".join(map(str, [mix] if mix else files))
    with TrainingBar(errors) as bar, parsing(f"The data ({names})"):
        try:
            progress = training.train(
                files,
                to,
                model=installed(model),
                settings=settings,
                teacher_vectors=teacher_vectors,
                evaluation=evaluation,
                device=device,
                on_step=bar.show,
            )
        except KeyboardInterrupt:
            bar.stop()
            errors.say(
                f"Stopped. {to} holds the current model; run the same command again to resume."
            )
            raise typer.Exit(130) from None
    if first:
        _print(to, progress, as_json=as_json)


@dataclass(frozen=True)
class _MiningOptions:
    """How `m3rag train mine` searches and chooses negatives."""

    model: str = field(
        default=DEFAULT_MODEL,
        metadata={"help": 'Model that searches: hub id, folder, "small" or "tiny".'},
    )
    corpus: Path | None = field(
        default=None,
        metadata={
            "help": 'JSON lines with a "text" each, searched in addition to the passages of the '
            "data."
        },
    )
    negatives: int = field(
        default=7,
        metadata={"help": "Maximum number of negatives per example."},
    )
    range: str = field(
        default="10-200",
        metadata={"help": "First and last rank to choose from, not counting relevant passages."},
    )
    margin: float | None = field(
        default=None,
        metadata={
            "help": "Minimum distance of a negative's score below that of the best relevant "
            "passage."
        },
    )
    scores: bool = field(
        default=False,
        metadata={
            "help": "Also write the scores of the model, for --teacher.",
            "option": "--scores",
        },
    )
    seed: int = field(default=0, metadata={"help": "Random seed for choosing among the ranks."})


@app.command()
@settings_options(_MiningOptions)
def mine(
    data: Annotated[
        list[Path],
        typer.Option(help="File of examples (.jsonl, .jsonl.gz or .jsonl.zst). Repeatable."),
    ],
    to: Annotated[Path, typer.Option(help="Output file (.jsonl, .jsonl.gz or .jsonl.zst).")],
    *,
    settings: _MiningOptions,
    as_json: Json = False,
) -> None:
    """Find hard negatives: high-ranking passages that are not relevant.

    Example: m3rag train mine --data pairs.jsonl --range 2-50 --to mined.jsonl
    """
    ranks = re.fullmatch("([0-9]{1,9})-([0-9]{1,9})", settings.range)
    if not ranks:
        raise InputError(f"--range must be two ranks such as 10-200, got {settings.range[:80]!r}.")
    if settings.seed < 0:
        raise InputError(f"--seed must be at least 0, got {settings.seed}.")
    if settings.margin is not None and not math.isfinite(settings.margin):
        raise InputError(f"--margin must be a finite number, got {settings.margin}.")
    check_file(to)
    from m3rag import training
    from m3rag.cli.bars import counter
    from m3rag.model import M3Model

    names = ", ".join(map(str, [*data, *filter(None, [settings.corpus])]))
    with (
        counter("examples") as progress,
        M3Model.load(installed(settings.model)) as loaded,
        parsing(f"The data ({names})"),
    ):
        mined = training.mine(
            data,
            to,
            model=loaded,
            corpus=settings.corpus,
            negatives=settings.negatives,
            ranks=(int(ranks[1]), int(ranks[2])),
            margin=settings.margin,
            scores=settings.scores,
            seed=settings.seed,
            progress=progress,
        )
    if as_json:
        print_json({"file": str(to), **asdict(mined)})
        return
    Terminal().say(
        f"{mined.negatives:,} negatives for {mined.examples:,} examples in {to}; "
        f"{mined.without:,} examples have none."
    )


def _print(to: Path, progress: TrainingProgress, *, as_json: bool) -> None:
    """Print the location of the model, its loss and its held-out scores."""
    if as_json:
        summary = {
            "model": str(to),
            "steps": progress.step,
            "queries": progress.queries,
            "tokens": progress.tokens,
            "minutes": progress.seconds / 60,
            "truncated": progress.truncated,
            "losses": progress.losses,
            "scores": progress.scores,
        }
        print_json(summary)
        return
    console = Terminal()
    console.say(
        f"{progress.step} steps, {progress.queries:,} queries, {progress.seconds / 60:.1f} "
        f"minutes; loss {progress.losses['loss']:.3f}. The model is in {to}."
    )
    for name, value in progress.scores.items():
        console.say(f"  {name}  {value:.3f}")
