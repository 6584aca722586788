"""A long-term memory for LlamaIndex over an index: messages that are found in any language."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.memory import BaseMemoryBlock

from m3rag import documents
from m3rag.closing import Closing, closed_on_errors
from m3rag.documents import Passage
from m3rag.frameworks import (
    OPENING,
    IndexLike,
    ModelLike,
    least_score,
    opening_of,
    own_errors,
)
from m3rag.frameworks.expiry import check_minutes, expired, expiry, living, renew
from m3rag.index.hit import Hit
from m3rag.index.index import M3Index
from m3rag.index.pooling import Query
from m3rag.index.settings import SearchSettings
from m3rag.llama_index.component import Checked, OverAnIndex, check_fields, chosen_index
from m3rag.threads import in_thread

_NAMESPACE = uuid.UUID("c0b1d3a4-6a59-5f0e-8d5e-2b8b6a3f4c11")  # ids depend on it; never change it
_REMEMBERED = (MessageRole.USER, MessageRole.ASSISTANT)


class M3MemoryBlock(Closing, OverAnIndex, Checked, BaseMemoryBlock[str]):
    """A memory of earlier messages, for `Memory.from_defaults(memory_blocks=[…])`.

    It gets the messages that no longer fit into the short-term memory, and returns those that the
    last message of the user is about, in whatever language, best first. Each message is stored with
    its role, its session and its time. Tool results and system messages are not remembered.

    Example:
        >>> import asyncio
        >>> block = M3MemoryBlock(model="tiny", owner="ann")
        >>> asyncio.run(block.aput([ChatMessage("I keep my ferns in the shade.")]))
        >>> asyncio.run(block.aget([ChatMessage("Where are my ferns?")]))  # doctest: +ELLIPSIS
        'user, ...: I keep my ferns in the shade.'

    Args:
        index: The index for the messages, or the folder of an existing one; by default, `path` and
            `model` open or create one. The blocks of many owners can share an index.
        path: The folder of the index; None for an index in memory.
        model: A model, or the name of the process's shared model. Without one, an existing folder
            gets its own, and a new index BAAI/bge-m3.
        settings: The fields, and arguments of `M3Index.open`.

    Attributes:
        owner: Whose memory it is: it finds the messages of all sessions of its owner, and of nobody
            else. Without an owner, it finds those of the current session only.
        similarity_top_k: The most messages to return; of a long one, its best passage.
        query_messages: The number of the user's last messages to search for, as one query.
        weights: The weights of the channels, as for `M3EnsembleRetriever`.
        min_score: The lowest score of a message that is returned, or "calibrated".
        ttl: The minutes after which a message is forgotten; None for never.
        refresh_on_read: Whether the time of a message begins again when it is returned.

    Raises:
        InputError: An argument is unknown or cannot be used.
    """

    name: str = Field(default="memories")
    owner: str | None = None
    similarity_top_k: int = Field(default=4, ge=1)
    query_messages: int = Field(default=1, ge=1)
    weights: Any = "default"  # checked by the index, whose error lists the choices
    min_score: Any = None
    ttl: float | None = None
    refresh_on_read: bool = True
    _index: M3Index = PrivateAttr()

    def __init__(
        self,
        index: IndexLike | None = None,
        *,
        path: object = None,
        model: ModelLike = None,
        **settings: Any,
    ) -> None:
        what = type(self).__name__
        check_fields(type(self), settings, OPENING)
        opening = opening_of(settings)
        with own_errors(what):
            super().__init__(**settings)
        found, opened = chosen_index(what, index, path, model, opening, in_memory=True)
        with closed_on_errors(found if opened else None):
            self._index = found
            self._check()

    @property
    def index(self) -> M3Index:
        """The index."""
        return self._index

    def close(self) -> None:
        """Close the index, also for others that use it; a second call does nothing."""
        self._index.close()

    def forget(self, session_id: str | None = None) -> int:
        """Delete messages of the owner and return the number of their passages.

        Args:
            session_id: Forget this session. Without one, everything of the owner is forgotten; a
                block without an owner forgets what was stored without a session.
        """
        return self._index.delete(filter=self._where(session_id, everywhere=session_id is None))

    async def aforget(self, session_id: str | None = None) -> int:
        """Run `forget` in a thread."""
        return await in_thread(self.forget, session_id)

    async def _aget(
        self,
        messages: list[ChatMessage] | None = None,
        session_id: str | None = None,
        **block_kwargs: Any,
    ) -> str:
        users = [m for m in messages or () if m.role == MessageRole.USER and _text(m).strip()]
        texts = [_text(message) for message in users[-self.query_messages :]]
        if not texts:
            return ""
        now = time.time()
        where = {"$and": [self._where(session_id, everywhere=True), living(now)]}
        settings = self._settings().changed(filter=where)
        hits = await self._index.asearch(Query(texts), self.similarity_top_k, settings=settings)
        if hits and self.ttl is not None and self.refresh_on_read:
            ids = [hit.passage.document_id for hit in hits]
            await in_thread(renew, self._index, ids, now)
        return "\n".join(map(_line, hits))

    async def _aput(self, messages: list[ChatMessage]) -> None:
        await in_thread(self._put, messages)

    def _put(self, messages: Sequence[ChatMessage]) -> None:
        now = time.time()
        passages = [
            passage
            for message in messages
            if message.role in _REMEMBERED and _text(message).strip()
            for passage in self._passages(message, now)
        ]
        self._index.add(passages)
        if self.ttl is not None:
            self._index.delete(filter=expired(now))

    def _passages(self, message: ChatMessage, now: float) -> list[Passage]:
        """Return the passages of a message; its id is the same if it is stored again."""
        text = _text(message)
        session = message.additional_kwargs.get("session_id")
        name = json.dumps([self.owner, session, message.role.value, text])
        source = documents.Document(str(uuid.uuid5(_NAMESPACE, name)), text)
        moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
        metadata = {"role": message.role.value, "time": moment, **expiry(self.ttl, now)}
        metadata |= {} if session is None else {"session": session}
        metadata |= {} if self.owner is None else {"owner": self.owner}
        model = self._index.model
        found = documents.split(source, model.tokenizer, max_tokens=model.passage_tokens)
        return [Passage(p.id, p.text, metadata, p.document_id, p.start, p.end) for p in found]

    def _where(self, session_id: str | None, *, everywhere: bool) -> dict[str, Any]:
        """Return the filter of the owner's messages, or of those of a session."""
        owner = {"owner": {"exists": False} if self.owner is None else self.owner}
        if self.owner is not None and everywhere:
            return owner
        return {**owner, "session": {"exists": False} if session_id is None else session_id}

    def _settings(self) -> SearchSettings:
        least = least_score(self._index, self.min_score, self.weights)
        return SearchSettings(weights=self.weights, min_score=least, max_per_document=1)

    def _check(self) -> None:
        """Check that the index supports the settings, so that no message is the first to."""
        check_minutes("ttl", self.ttl)
        self._index.check(self.similarity_top_k, settings=self._settings())


def _text(message: ChatMessage) -> str:
    return message.content or ""


def _line(hit: Hit) -> str:
    """Return what the language model reads of a message."""
    said = hit.passage.metadata
    return f"{said['role']}, {said['time'][:16].replace('T', ' ')}: {hit.passage.text}"
