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

from m3rag.stores.edge.convert import EngineError
from m3rag.stores.edge.shard import Shard
from m3rag.stores.edge.wire import Message, receive, send


def main() -> None:
    """Open the folder that the first request names, then answer until the requests end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = io.FileIO(os.dup(0), "rb")
    answers = io.FileIO(os.dup(1), "wb")
    os.dup2(2, 1)  # printed text must not mix with the answers
    shard: Shard | None = None
    try:
        while True:
            body, arrays = receive(requests)
            try:
                if shard is None:
                    shard = Shard.open(**{k: v for k, v in body.items() if k != "op"})
                    answer: Message = ({}, [])
                else:
                    answer = shard.answer(body.pop("op"), body, arrays)
            except EngineError as error:
                send(answers, {"error": error.kind, "message": str(error), "fatal": error.fatal})
                if error.fatal:
                    return
                continue
            send(answers, *answer)
    except (EOFError, BrokenPipeError):  # the owner has closed the pipe, or died
        pass
    finally:
        if shard is not None:
            shard.close()


if __name__ == "__main__":
    main()
    sys.exit(0)
