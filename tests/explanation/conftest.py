"""Indexes, texts in several scripts, and a model whose weights depend on the place of a token."""

import dataclasses

import pytest
import torch

from m3rag import M3Index, M3Model
from m3rag.model import checkpoint
from m3rag.model.lookup import BUNDLED
from tests.index.conftest import PASSAGES, index, own, place

__all__ = ["index", "own", "place"]

COLBERT = {"memory": 1e-5, "edge": 5e-3}  # 8 bits per dimension on disk

# (query, passage, words in both, best sentence)
SCRIPTS = {
    "Latin": (
        "How is soil moisture measured?",
        "Plants need light. A sensor measures the soil moisture. It costs ten euros.",
        ["soil", "moisture"],
        "A sensor measures the soil moisture.",
    ),
    "Chinese": (
        "土壤湿度怎么测量？",
        "植物需要光。传感器测量土壤湿度。它很便宜。",
        ["土壤", "湿度", "测量"],
        "传感器测量土壤湿度。",
    ),
    "Japanese": (
        "土壌の水分を測定するには?",
        "植物には光が要る。センサーで土壌の水分を測定する。安い。",
        ["土", "水分", "測定"],
        "センサーで土壌の水分を測定する。",
    ),
    "Arabic": (
        "كيف تقاس رطوبة التربة؟",
        "النباتات تحتاج إلى الضوء. المستشعر يقيس رطوبة التربة. السعر منخفض.",
        ["رطوبة", "التربة"],
        "المستشعر يقيس رطوبة التربة.",
    ),
    "Hindi": (
        "मिट्टी की नमी कैसे मापें?",
        "पौधों को प्रकाश चाहिए। सेंसर मिट्टी की नमी मापता है। यह सस्ता है।",
        ["मिट्टी", "नमी"],
        "सेंसर मिट्टी की नमी मापता है।",
    ),
    "Thai": ("น้ำในดิน", "ต้นไม้ต้องการแสง\n\nเซ็นเซอร์วัดน้ำในดิน", ["ในดิน"], "เซ็นเซอร์วัดน้ำในดิน"),
    "emoji": (
        "🌱 soil moisture?",
        "Light 👩🏽‍🌾 helps. The 🌱 sensor measures soil moisture. Done e\u0301.",
        ["🌱", "moisture"],
        "The 🌱 sensor measures soil moisture.",
    ),
    "full width": (
        "soil moisture sensor",
        "Ｌｉｇｈｔ ½ ㎏. Ａ ｓｅｎｓｏｒ ｆｏｒ ｓｏｉｌ ｍｏｉｓｔｕｒｅ.",
        ["ｓｏｉｌ", "ｍｏｉｓｔｕｒｅ", "ｓｅｎｓｏｒ"],
        "Ａ ｓｅｎｓｏｒ ｆｏｒ ｓｏｉｌ ｍｏｉｓｔｕｒｅ.",
    ),
}


@pytest.fixture(params=COLBERT, scope="module")
def indexed(request, tiny, tmp_path_factory):
    """An index of each kind with the passages, and the accuracy of its ColBERT scores."""
    folder = None if request.param == "memory" else tmp_path_factory.mktemp("kbs") / "kb"
    with M3Index.open(folder, model=tiny) as index:
        index.add(PASSAGES)
        yield index, COLBERT[request.param]


@pytest.fixture(scope="module")
def with_positions():
    """The model "tiny" with random position embeddings: weights depend on the place of a token."""
    weights = checkpoint.read(BUNDLED["tiny"])
    name = "embeddings.position_embeddings.weight"
    noise = torch.randn(weights.encoder[name].shape, generator=torch.Generator().manual_seed(3))
    encoder = {**weights.encoder, name: 0.3 * noise}
    with M3Model(dataclasses.replace(weights, encoder=encoder), dtype="float32") as model:
        yield model


def marked(text, places):
    """Return the runs of characters that the places cover."""
    covered = [any(p.start <= i < p.end for p in places) for i in range(len(text))]
    kept = "".join(c if on else "\0" for c, on in zip(text, covered, strict=True))
    return [run for run in kept.split("\0") if run]
