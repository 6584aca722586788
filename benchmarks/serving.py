"""Compare `m3rag serve` with the same model in a FastAPI handler, under load on loopback.

    python benchmarks/serving.py [--model small] [--clients 64] [--requests 50] [--save]

Each client keeps one connection and sends one text after the other to `/embed`; no text occurs
twice. The other sides are what people write today: FlagEmbedding's or sentence-transformers' model
in a handler, which FastAPI runs in a pool of threads. Every vector is compared with that of the
library. Servers run one at a time, each in a process of its own, on the cores of the clients. The
processor time of the server says more than requests/s if the machine has other work.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import plot
from common import options, report, texts_of
from numpy.typing import NDArray
from tuning import markdown

from m3rag import M3Model

SIDES = ("sentence-transformers", "FlagEmbedding", "m3rag, float32", "m3rag")
_CLOSE = 0.999  # the least cosine between a vector of a server and that of the library
_START = 300  # seconds


def main() -> None:
    """Run the benchmark and print its section; `--side` is how it starts a server."""
    if "--side" in sys.argv:
        serve()
        return
    args = options(__doc__ or "", model="tiny", clients=64, requests=50)
    if args.quick:
        args.clients, args.requests, args.runs = 8, 5, 1
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "model")
        with M3Model.load(args.model, dtype="float32") as loaded:
            loaded.save(model)
            number = args.clients * args.requests
            lengths = np.random.default_rng(0).integers(8, 40, number)
            texts = texts_of(map(int, lengths), loaded.tokenizer)
            texts = [f"{i} {text}" for i, text in enumerate(texts)]
            expected = loaded.encode(texts, sparse=False, colbert=False).dense
        results: dict[str, list[Load]] = {side: [] for side in SIDES}
        for _ in range(args.runs):
            for side in SIDES:
                with served(side, model) as (port, pid):
                    before = processor_seconds(pid)
                    found = asyncio.run(load(port, texts, expected, args.clients))
                    found.processor = (processor_seconds(pid) - before) / len(texts)
                    results[side].append(found)
    rates = {side: float(np.median([r.rate for r in runs])) for side, runs in results.items()}
    slowest = max(rates["FlagEmbedding"], rates["sentence-transformers"])
    rows = [
        [
            side,
            f"{rates[side]:,.0f}",
            f"{rates[side] / slowest:.1f}",
            f"{np.median([r.milliseconds(50) for r in runs]):,.0f}",
            f"{np.median([r.milliseconds(99) for r in runs]):,.0f}",
            f"{1000 * np.median([r.processor for r in runs]):.1f}",
            str(sum(r.errors for r in runs)),
            str(sum(r.wrong for r in runs)),
        ]
        for side, runs in results.items()
    ]
    head = (
        "",
        "requests/s",
        "× the better handler",
        "p50, ms",
        "p99, ms",
        "processor ms per request",
        "errors",
        "wrong vectors",
    )
    title = f'### Serving "{args.model}": {args.clients} clients × {args.requests} requests'
    name = report(f"serving-{args.model}", f"{title}\n\n{markdown(head, rows)}", args)
    if args.save:
        plot.bars(name, f'"{args.model}", {args.clients} clients', rates, "requests/s")


class Load:
    """What the clients of one server met."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.errors = self.wrong = 0
        self.rate = self.processor = 0.0

    def milliseconds(self, percentile: int) -> float:
        """Return a percentile of the times of the requests."""
        return 1000 * float(np.percentile(self.seconds, percentile))


async def load(
    port: int, texts: list[str], expected: NDArray[np.float32] | None, clients: int
) -> Load:
    """Let clients send all texts, each its share."""
    found = Load()

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for i in range(number, len(texts), clients):
            body = json.dumps({"inputs": texts[i]}).encode()
            start = time.perf_counter()
            head = "POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            status, content = await response(reader)
            found.seconds.append(time.perf_counter() - start)
            if status != 200:
                found.errors += 1
            elif expected is not None and np.dot(json.loads(content)[0], expected[i]) < _CLOSE:
                found.wrong += 1
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*map(client, range(clients)))
    found.rate = len(texts) / (time.perf_counter() - start)
    return found


async def response(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return the status and the body of a response."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    status = int(head.split()[1])
    length = int(head.partition("content-length:")[2].split()[0])
    return status, await reader.readexactly(length)


@contextlib.contextmanager
def served(side: str, model: Path) -> Iterator[tuple[int, int]]:
    """Start the server of a side, and yield its port and process when it has answered."""
    command = [sys.executable, __file__, "--side", side, str(model)]
    environment = {**os.environ, "TQDM_DISABLE": "1", "TOKENIZERS_PARALLELISM": "true"}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # m3rag writes a line for each request
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        try:
            asyncio.run(first(port))
            yield port, process.pid
        finally:
            process.terminate()


async def first(port: int) -> None:
    """Wait until a server answers, and let it encode some texts, unmeasured."""
    end = time.monotonic() + _START
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            break
        except OSError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)
    writer.close()
    await load(port, ["a text"] * 16, None, 4)


def processor_seconds(pid: int) -> float:
    """Return the time of all cores that a process has used; other load does not change it much."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def serve() -> None:
    """Serve one side; prints the port."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", choices=SIDES)
    parser.add_argument("model", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    from m3rag.serve.listening import bind

    bound = bind("127.0.0.1", 0, guarded=False)
    print(bound.getsockname()[1], flush=True)
    if args.side.startswith("m3rag"):
        from m3rag.bases import KnowledgeBases
        from m3rag.serve import ServeConfig, create_app
        from m3rag.serve.running import run

        dtype = "float32" if "float32" in args.side else "auto"
        model = M3Model.load(args.model, dtype=dtype)
        config = ServeConfig()
        run(create_app(KnowledgeBases({}, {"model": model}), config), config, bound)
        return
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(handler(args.side, args.model), log_level="warning"))
    server.run(sockets=[bound])


def handler(side: str, folder: Path) -> Any:
    """Return the application that people write: a model in a handler."""
    from fastapi import Body, FastAPI

    app = FastAPI()
    if side == "FlagEmbedding":
        from common import flag_model

        theirs = flag_model(folder)

        def encode(inputs: str) -> Any:
            return theirs.encode([inputs], return_dense=True)["dense_vecs"].tolist()
    else:
        from sentence_transformers import SentenceTransformer

        transformer = SentenceTransformer(str(folder), device="cpu")

        def encode(inputs: str) -> Any:
            return transformer.encode([inputs], normalize_embeddings=True).tolist()

    @app.post("/embed")
    def embed(inputs: str = Body(embed=True)) -> Any:
        return encode(inputs)

    return app


if __name__ == "__main__":
    main()
