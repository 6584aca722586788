"""A small corpus in four languages, and a listener for LlamaIndex's events."""

import pytest
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode

TEXTS = {
    "shade": ("Ferns like shade and moist soil.", "en", 2019, "plants.md"),
    "sombra": ("Los helechos prefieren la sombra y el suelo húmedo.", "es", 2021, "plantas.md"),
    "cactus": ("A cactus needs sun and very little water.", "en", 2021, "plants.md"),
    "water": ("Water the plants in the morning when the soil is dry.", "en", 2020, "plants.md"),
    "植物": ("植物需要水和阳光。", "zh", 2022, "zh.md"),
    "sensor": (
        "A soil moisture sensor measures how much water the soil holds.",
        "en",
        2023,
        "iot.md",
    ),
    "hub": ("The IoT hub in the cloud receives messages from the device.", "en", 2023, "iot.md"),
    "boden": ("Der Sensor misst die Feuchtigkeit im Boden.", "de", 2023, "de.md"),
}
QUESTIONS = ["soil moisture sensor", "Who likes shade?", "¿Qué prefieren los helechos?", "水"]


def make_nodes(**changes):
    """Fresh nodes of the corpus; metadata are not embedded, so that texts stand alone."""
    return [
        TextNode(
            id_=name,
            text=text,
            metadata={"lang": lang, "year": year, "tags": [lang, "demo"]},
            excluded_embed_metadata_keys=["lang", "year", "tags"],
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=source)},
            **changes,
        )
        for name, (text, lang, year, source) in TEXTS.items()
    ]


@pytest.fixture
def nodes():
    return make_nodes()


class Listener(BaseEventHandler):
    """Keeps the events it hears."""

    heard: list = []  # noqa: RUF012

    @classmethod
    def class_name(cls):
        return "Listener"

    def handle(self, event, **kwargs):
        self.heard.append(event)

    def of(self, kind):
        return [event for event in self.heard if isinstance(event, kind)]


@pytest.fixture
def listener():
    root = get_dispatcher()
    listener = Listener(heard=[])
    root.add_event_handler(listener)
    yield listener
    root.event_handlers.remove(listener)
