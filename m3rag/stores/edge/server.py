"""The engine process: answers requests from standard input, one at a time.

`m3rag.stores.edge.client` starts it with `python -m m3rag.stores.edge.server`. It imports neither
torch nor transformers. It exits when its input ends, even if its owner was killed, and ignores
Ctrl-C.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from m3rag.stores.edge.wire import Message, receive, send

if TYPE_CHECKING:
    from m3rag.stores.edge.shard import Shard

_SHOWN = 500  # characters of an error of the engine


def main() -> None:
    """Open the folder that the first request names, then answer until the requests end.

    Every error of the engine, of any class, is an answer: none ends the process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = io.FileIO(os.dup(0), "rb")
    answers = io.FileIO(os.dup(1), "wb")
    os.dup2(2, 1)  # printed text must not mix with the answers
    shards: list[Shard] = []
    try:
        while True:
            body, arrays = receive(requests)
            try:
                answer = _answer(shards, body, arrays)
            except BaseException as error:  # also a panic of the engine, which is no Exception
                name = type(error).__name__
                answer = {"error": f"{name}: {str(error)[:_SHOWN]}"}, []
            send(answers, *answer)
    except (EOFError, BrokenPipeError):  # the owner has closed the pipe, or died
        pass
    for shard in shards:
        shard.close()


def _answer(shards: list[Shard], body: dict[str, Any], arrays: list[Any]) -> Message:
    op = body.pop("op")
    if op == "open":
        from m3rag.stores.edge.shard import Shard

        shards[:] = [Shard.open(**body)]
        return {}, []
    if op == "export":  # an index of an older format
        from m3rag.stores.edge.legacy import export

        return export(**body)
    return shards[0].answer(op, body, arrays)


if __name__ == "__main__":
    main()
    sys.exit(0)
