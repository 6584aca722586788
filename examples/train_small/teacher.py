"""multilingual-e5-small as a teacher: a file of its vectors of all training texts.

e5 embeds a text as the mean of its hidden states, with "query: " or "passage: " in front. A share
of the mean vector is subtracted, as in centre.py. Otherwise a student that is centred would learn
e5's narrow cone again: it would have to bring its scores as close together as e5's are.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from centre import sample
from numpy.typing import NDArray
from rich.progress import Progress

from m3rag.model.checkpoint import read
from m3rag.model.kernels.device import choose_device, choose_dtype, pass_tokens
from m3rag.model.network import M3Network
from m3rag.training import read_mix, write_teacher_vectors

LENGTH = 2050  # tokens of a text; the longest documents of data.py have as many


class E5:
    """multilingual-e5-small in the folder of convert.py; the heads are not used."""

    def __init__(self, folder: Path, texts: Sequence[str], share: float) -> None:
        """Load the model; a share of the mean of some passages is subtracted."""
        checkpoint = read(folder)
        self.tokenizer = checkpoint.tokenizer
        self.device = choose_device("auto")
        dtype = choose_dtype("auto", self.device)
        self.network = M3Network.from_checkpoint(checkpoint, device=self.device, dtype=dtype)
        self.network.pack()
        self.mean = np.float32(0)
        self.mean = share * self.passages(texts).mean(axis=0)

    def queries(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Return the vectors of queries, `(n, d)`."""
        return self._means([f"query: {text}" for text in texts])

    def passages(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Return the vectors of passages, `(n, d)`."""
        return self._means([f"passage: {text}" for text in texts])

    def _means(self, texts: Sequence[str]) -> NDArray[np.float32]:
        ids = [tokens.ids for tokens in self.tokenizer.cut(texts, LENGTH)]
        order = np.argsort([len(row) for row in ids], kind="stable").tolist()
        width = self.network.encoder.config.hidden_size
        found = np.empty((len(ids), width), np.float32)
        budget = pass_tokens(self.device, width)
        while order:
            part: list[int] = []
            size = 0
            while order and (not part or size + len(ids[order[0]]) <= budget):
                size += len(ids[order[0]])
                part.append(order.pop(0))
            found[part] = self._pass([ids[i] for i in part])
        return found

    @torch.no_grad()
    def _pass(self, ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        lengths = torch.tensor([len(row) for row in ids], device=self.device)
        hidden, _ = self.network.hidden(ids)
        owner = torch.repeat_interleave(torch.arange(len(ids), device=self.device), lengths)
        sums = hidden.new_zeros(len(ids), hidden.shape[1], dtype=torch.float32)
        sums.index_add_(0, owner, hidden.float())
        vectors = torch.nn.functional.normalize(sums, dim=-1).cpu().numpy()
        return vectors - self.mean


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="the folder of convert.py")
    parser.add_argument("mix", type=Path, help="the TOML file of tasks")
    parser.add_argument("to", type=Path, help="the file to write (.safetensors)")
    parser.add_argument("--share", type=float, default=0.9, help="share of the mean (0.9)")
    parser.add_argument("--texts", type=int, default=1600, help="texts for the mean (1,600)")
    args = parser.parse_args()
    tasks = [task for task in read_mix(args.mix) if task.teacher_vectors_weight != 0]
    texts = sample([file for task in tasks for file in task.files], args.texts)
    with Progress() as bar:
        task = bar.add_task("texts", total=None)
        count = write_teacher_vectors(
            E5(args.model, texts, args.share),
            tasks,
            args.to,
            progress=lambda _, done, total: bar.update(task, completed=done, total=total),
        )
    print(f"{count:,} vectors in {args.to}")


if __name__ == "__main__":
    main()
