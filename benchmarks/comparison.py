"""Tables that compare models, channels and presets over several sets, for docs/quality.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tuning import Row, markdown

from m3rag.encoding import CHANNELS
from m3rag.evaluation import Report
from m3rag.evaluation.matrices import RRF
from m3rag.evaluation.report import Table
from m3rag.scoring import SCORED

Reports = Mapping[str, Report]
"""The report of a model for each set, by name."""

BM25, DEFAULT = "bm25", "default"


def parts(reports: Reports) -> Iterator[tuple[str, Table]]:
    """Yield the table of each set for one language (same) and for two (cross), with its title."""
    for name, report in reports.items():
        for kind, table in (("same", report.same), ("cross", report.cross)):
            if table:
                yield f"{name}, {kind}", table


def models_table(models: Mapping[str, Reports]) -> str:
    """Return R@1 and R@10 of the views and the default fusion of each model, and of BM25.

    Args:
        models: The reports of each model, by its name. BM25 is taken from the first.
    """
    rows: list[Row] = []
    for model, reports in models.items():
        rows += [[model, name, *_recalls(reports, name)] for name in (*CHANNELS, DEFAULT)]
    first = next(iter(models.values()))
    rows.append(["", BM25, *_recalls(first, BM25)])
    return markdown(("model", "", *(title for title, _ in parts(first))), rows)


def views_table(reports: Reports) -> str:
    """Return nDCG@10 of each channel on every set."""
    head = ("channel", *(title for title, _ in parts(reports)))
    return markdown(head, [[name, *_ndcgs(reports, name)] for name in SCORED])


def presets_table(reports: Reports, presets: Mapping[str, Mapping[str, float]]) -> str:
    """Return the weights of each preset and its nDCG@10 on every set.

    Args:
        reports: The reports of a model; each has all presets and "rrf".
        presets: The weights of the channels, by the names of the presets.
    """
    rows = [
        [f'`"{name}"`', "/".join(f"{weights.get(c, 0):g}" for c in SCORED), *_ndcgs(reports, name)]
        for name, weights in presets.items()
    ]
    rows.append(["reciprocal rank fusion", "", *_ndcgs(reports, RRF)])
    head = ("weights", "/".join(SCORED), *(title for title, _ in parts(reports)))
    return markdown(head, rows)


def check_table(reports: Reports) -> str:
    """Return whether the default fusion beats the best single view, for each part of a set."""
    rows = []
    for title, table in parts(reports):
        cells, beaten = [], True
        for metric in ("recall@1", "ndcg@10"):
            view = max(CHANNELS, key=lambda name: table[name][metric])
            best, fused = table[view][metric], table[DEFAULT][metric]
            cells += [f"{best:.3f} ({view})", f"{fused:.3f}"]
            beaten = beaten and fused >= best
        rows.append([title, *cells, "yes" if beaten else "**no**"])
    views = ("R@1, best view", "R@1, default", "nDCG@10, best view", "nDCG@10, default")
    return markdown(("set", *views, "default ≥ each view"), rows)


def _recalls(reports: Reports, name: str) -> Sequence[str]:
    return [f"{t[name]['recall@1']:.3f} / {t[name]['recall@10']:.3f}" for _, t in parts(reports)]


def _ndcgs(reports: Reports, name: str) -> Sequence[str]:
    return [f"{table[name]['ndcg@10']:.3f}" for _, table in parts(reports)]
