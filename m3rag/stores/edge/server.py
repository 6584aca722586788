"""The engine process: answers requests from standard input, one after the other.

`m3rag.stores.edge.client` starts it with `python -m m3rag.stores.edge.server` and talks to it. It
imports neither torch nor transformers. It ends when its requests end, also if its owner was
killed, and it ignores Ctrl-C.
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
    os.dup2(2, 1)  # whatever prints must not get in between the answers
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
    except (EOFError, BrokenPipeError):  # the owner is done, or dead
        pass
    finally:
        if shard is not None:
            shard.close()


if __name__ == "__main__":
    main()
    sys.exit(0)
