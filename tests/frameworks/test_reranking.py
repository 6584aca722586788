"""The rerankers of both frameworks give the scores of the same cross-encoder."""

import pytest
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode

from m3rag import langchain, llama_index
from tests.conftest import TEXTS

QUERY = "soil moisture"
REFUSED = [
    # settings of a reranker, and what both frameworks say of them
    ({"cross_encoder": "nope"}, '`cross_encoder` needs mode="cross-encoder"'),
    ({"max_length": 64}, '`max_length` needs mode="cross-encoder"'),
    ({"mode": "cross-encoder", "model": "tiny"}, "`model` cannot be used with mode="),
    ({"mode": "cross-encoder", "index": "kb"}, "`index` cannot be used with mode="),
    ({"mode": "cross-encoder", "weights": (1, 0, 0)}, "a cross-encoder gives one score"),
    ({"mode": "cross-encoder", "cross_encoder": 7}, "must be an M3CrossEncoder"),
]


def test_both_frameworks_agree(cross_encoder):
    texts = [text for text in TEXTS if text.strip() and len(text) < 200]
    settings = {"mode": "cross-encoder", "cross_encoder": cross_encoder, "top_n": 5}
    documents = langchain.M3Reranker(**settings).compress_documents(
        [Document(text) for text in texts], QUERY
    )
    nodes = llama_index.M3Reranker(**settings).postprocess_nodes(
        [NodeWithScore(node=TextNode(text=text)) for text in texts], query_str=QUERY
    )
    assert [d.page_content for d in documents] == [found.text for found in nodes]
    scores = [document.metadata["cross_encoder_score"] for document in documents]
    assert scores == pytest.approx([found.scores["cross_encoder"] for found in nodes])
