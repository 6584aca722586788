"""`m3rag tune`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from m3rag.cli.common import opened
from m3rag.cli.options import In, Json, check_unicode
from m3rag.cli.output import Terminal, print_json, shown
from m3rag.cli.reporting import reading
from m3rag.errors import InputError

if TYPE_CHECKING:
    from m3rag.evaluation import Scores
    from m3rag.index import M3Index
    from m3rag.index.presets import Preset
    from m3rag.tuning import Labelled, Threshold, Tuning


def tune(
    kb: In,
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="QUESTIONS",
            help="Folder with queries.jsonl and qrels.tsv, or a .jsonl file of "
            '{"question", "document_id" or "passage_id"}; at least 20 different questions.',
        ),
    ] = None,
    pseudo: Annotated[
        str | None,
        typer.Option(
            help="Instead of questions, use the headings or the first sentences of passages: "
            "headings or sentences."
        ),
    ] = None,
    name: Annotated[str, typer.Option(help="Name under which the weights are saved.")] = "tuned",
    precision: Annotated[
        float,
        typer.Option(help='Share of correct answers that the "no answer" threshold is chosen for.'),
    ] = 0.9,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Save nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Learn the weights of a knowledge base from questions with known answers."""
    from m3rag import tuning
    from m3rag.index.presets import check_name

    check_unicode("--name", name)
    check_name(name)
    if not 0 <= precision <= 1:
        raise InputError(f"--precision must be between 0 and 1, got {precision}.")
    if (source is None) == (pseudo is None):
        raise InputError("Specify either labelled questions or --pseudo headings.")
    labelled = None if source is None else _labelled(source)  # before the model is loaded
    with opened(kb) as (index, _):
        scores = _scores(index, labelled, pseudo)
        learned = tuning.tune(scores)
        # Headings score differently from questions, so they give no threshold.
        threshold = None
        if pseudo is None:
            threshold = tuning.calibrate(scores, learned.preset, precision=precision)
        preset = tuning.preset_of(learned, threshold, scores.set)
        useful = learned.tuned or preset.min_score is not None
        saved = useful and not dry_run
        if saved:
            index.save_preset(name, preset)
    kind = "questions" if pseudo is None else "pseudo-questions"
    if as_json:
        facts = {"kb": kb, "set": scores.set, "kind": kind, "level": scores.level}
        result = {"name": name, "saved": saved, **learned.to_dict(), "preset": asdict(preset)}
        calibrated = {"threshold": None if threshold is None else threshold.to_dict()}
        print_json(facts | result | calibrated)
        return
    console = Terminal()
    console.say(f"{learned.questions:,} {kind} of {scores.set}")
    _print(console, learned, threshold)
    nothing = "Nothing was saved" + (" (--dry-run)." if useful else ".")
    console.say(f"Saved. Use it: m3rag ask … --in {kb} --weights {name}" if saved else nothing)


def _print(console: Terminal, tuning: Tuning, threshold: Threshold | None) -> None:
    if tuning.held_out:
        console.print(_table(tuning))
    console.say(tuning.reason)
    if threshold is None:
        console.say("Pseudo-questions are not real questions: evaluate with real ones.")
        return
    console.say(threshold.reason)
    if threshold.min_score is not None:
        precision = "none" if threshold.precision is None else f"{threshold.precision:.3f}"
        console.say(
            f"Precision {precision} (target {threshold.wanted:g}), "
            f"coverage {threshold.coverage:.3f}."
        )


def _labelled(source: str) -> Labelled:
    from m3rag.tuning import read_labelled

    with reading(source):
        labelled = read_labelled(source)
    _check_number(labelled, source)
    return labelled


def _scores(index: M3Index, labelled: Labelled | None, pseudo: str | None) -> Scores:
    from m3rag.cli.bars import stage_bars
    from m3rag.tuning import index_scores, pseudo_questions

    with stage_bars() as progress:
        if labelled is not None:
            return index_scores(index, labelled, progress=progress)
        kind = pseudo or "headings"
        without, found = pseudo_questions(index, kind, progress=progress)
        _check_number(found, f"--pseudo {kind}")
        return index_scores(without, found, progress=progress)


def _check_number(labelled: Labelled, source: str) -> None:
    """Check that there are enough questions, before any of them is asked.

    Raises:
        InputError: There are too few.
    """
    from m3rag.tuning.tuner import FEWEST

    number = len({query.question for query in labelled.queries})
    if number < FEWEST:
        raise InputError(
            f"{source} has {number} different question{'' if number == 1 else 's'}, and {FEWEST} "
            "are needed to learn from. Nothing was asked and nothing saved: add more questions."
        )


def _table(tuning: Tuning) -> Table:
    """Return the results of the learned weights and of each preset on held-out questions."""
    from m3rag.scoring import SCORED

    table = Table(box=SIMPLE_HEAD, collapse_padding=True)
    for column in ("", "/".join(SCORED), "nDCG@10", "gain", "95 %"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    learned = tuning.learned or tuning.preset
    table.add_row("learned", _numbers(learned), f"{tuning.ndcg:.3f}", "", "")
    for name, row in tuning.held_out.items():
        interval = f"{row.low:+.3f} to {row.high:+.3f}"
        values = f"{row.ndcg:.3f}", f"{row.gain:+.3f}", interval
        table.add_row(shown(name), _numbers(row.preset), *values)
    return table


def _numbers(preset: Preset) -> str:
    """Return the weights as text; for rrf, k and the channels."""
    from m3rag.scoring import SCORED

    if preset.fusion == "rrf":
        return f"rrf, k={preset.k:g}: {', '.join(c for c, w in preset.weights.items() if w)}"
    return "/".join(f"{preset.weights[channel]:g}" for channel in SCORED)
