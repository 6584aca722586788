"""The header of a table is encoded, scored and shown with the passages that continue the table."""

import pytest

from m3rag import M3Index, Passage
from m3rag.answers.generation import prompt

HEADER, ROW = "| Plant | Litres per week |", "| Moss | 30 |"


def test_an_index_encodes_and_scores_the_header(tiny, tmp_path):
    with M3Index.open(tmp_path / "kb", model=tiny, colbert="on-demand") as index:
        index.add([Passage("with", ROW, table_header=HEADER), Passage("without", ROW)])
        index.add([Passage("text", f"{HEADER}\n{ROW}")])
        hits = {
            hit.passage.id: hit for hit in index.search("litres per week", 3, weights=(1, 1, 1))
        }
        assert hits["with"].passage == Passage("with", ROW, table_header=HEADER)
        same = hits["with"], hits["text"]
        assert same[0].dense == pytest.approx(same[1].dense, abs=1e-6)
        assert same[0].colbert == pytest.approx(same[1].colbert, abs=1e-6)
        assert same[0].sparse == pytest.approx(same[1].sparse, abs=1e-6) != hits["without"].sparse
        rescored = index.rescore(
            "litres", [ROW, f"{HEADER}\n{ROW}"], {"sparse": 1}, ids=["with"] * 2
        )
        assert rescored[0][0] == rescored[0][1] > 0
        changed = index.upsert_documents([Passage("without", ROW, table_header=HEADER)])
        assert changed.replaced == ["without"]
        assert index.search("litres", 3, channels=["sparse"])[2].sparse > 0
    assert f"\n\n{HEADER}\n{ROW}\n</passage>" in prompt("?", [hits["with"].passage])
