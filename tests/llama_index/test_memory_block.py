"""A long-term memory: alone, in LlamaIndex's Memory, and in the run of an agent."""

import pickle  # noqa: TID251  # what users do
import time
from types import SimpleNamespace

import pytest
from llama_index.core.llms import ChatMessage

from m3rag import M3Index, Query
from m3rag.errors import ArgumentError, InputError
from m3rag.llama_index import M3MemoryBlock, memory_block
from tests.conftest import passes_need_the_loop
from tests.llama_index.conftest import ANSWER, BERN, CAT, QUESTION, fill


def texts(content):
    return [line.split(": ", 1)[1] for line in content.splitlines()]


async def said(block, *messages, session=None):
    """Put copies of messages, to which LlamaIndex adds the session."""
    await block.aput([message.model_copy(deep=True) for message in messages], session_id=session)


async def test_it_remembers_across_languages_and_sessions(tiny):
    block = M3MemoryBlock(model=tiny, owner="ann", similarity_top_k=1)
    await said(block, CAT, BERN, ANSWER, session="monday")
    found = await block.aget(QUESTION, session_id="friday")
    assert found.startswith("user, 20")
    assert texts(found) == [CAT.content]
    block.similarity_top_k = 9
    assert len(texts(await block.aget(QUESTION))) == 3
    assert (await block.aget([*QUESTION, ANSWER])).startswith("user")  # asks for the user's message


async def test_nobody_else_is_remembered(tiny):
    index = M3Index.open(model=tiny)
    ann, bob = (M3MemoryBlock(index, owner=owner) for owner in ("ann", "bob"))
    of_session = M3MemoryBlock(index)
    await said(ann, CAT, session="s")
    await said(bob, BERN, session="s")
    await said(of_session, ANSWER, session="s")
    assert texts(await ann.aget(QUESTION, session_id="s")) == [CAT.content]
    assert texts(await bob.aget(QUESTION, session_id="t")) == [BERN.content]
    assert texts(await of_session.aget(QUESTION, session_id="s")) == [ANSWER.content]
    assert await of_session.aget(QUESTION, session_id="t") == ""
    assert await of_session.aget(QUESTION) == ""


async def test_forgetting(tiny):
    index = M3Index.open(model=tiny)
    ann, bob = (M3MemoryBlock(index, owner=owner) for owner in ("ann", "bob"))
    for block in (ann, bob):
        await said(block, CAT, session="monday")
        await said(block, BERN, session="friday")
    assert ann.forget("monday") == 1
    assert texts(await ann.aget(QUESTION)) == [BERN.content]
    assert await ann.aforget() == 1
    assert await ann.aget(QUESTION) == ""
    assert len(texts(await bob.aget(QUESTION))) == 2


async def test_what_is_not_remembered(tiny):
    block = M3MemoryBlock(model=tiny)
    await said(
        block,
        ChatMessage("Be kind.", role="system"),
        ChatMessage("[1] A cat.", role="tool"),
        ChatMessage(" ", role="user"),
        ChatMessage(role="assistant", blocks=[]),
    )
    assert len(block.index) == 0
    assert await block.aget([]) == await block.aget() == await block.aget([ChatMessage("")]) == ""
    assert await block.aget([ANSWER]) == ""


async def test_a_message_is_stored_once_and_a_long_one_is_split(tiny):
    block = M3MemoryBlock(model=tiny, owner="ann")
    long = ChatMessage("The weather is fine. " * 300 + CAT.content)
    for _ in range(2):
        await said(block, long, session="s")
    passages = list(block.index.passages())
    assert len(passages) > 1
    assert {p.document_id for p in passages} == {passages[0].document_id}
    (line,) = texts(await block.aget(QUESTION))  # its best passage
    assert line.endswith(CAT.content)


async def test_several_messages_as_one_query(tiny):
    block = M3MemoryBlock(model=tiny, similarity_top_k=1)
    await said(block, CAT)
    asked = [*QUESTION, ANSWER, ChatMessage("Thanks. And the pump?")]
    last = block.index.search("Thanks. And the pump?")[0].score
    both = block.index.search(Query([message.content or "" for message in QUESTION + asked[-1:]]))[
        0
    ].score
    assert last < both
    block.min_score = (last + both) / 2
    assert await block.aget(asked) == ""
    block.query_messages = 2
    assert texts(await block.aget(asked)) == [CAT.content]


@pytest.mark.parametrize("refresh", [True, False])
async def test_messages_expire(tiny, monkeypatch, refresh):
    minutes = 0.0
    clock = SimpleNamespace(time=lambda: time.time() + 60 * minutes)
    monkeypatch.setattr(memory_block, "time", clock)
    block = M3MemoryBlock(model=tiny, ttl=30, refresh_on_read=refresh)
    await said(block, CAT)
    minutes = 20
    assert texts(await block.aget(QUESTION)) == [CAT.content]
    minutes = 40
    assert texts(await block.aget(QUESTION)) == [CAT.content] * refresh
    minutes = 75
    assert await block.aget(QUESTION) == ""
    assert len(block.index) == 1
    await said(block, BERN)  # deletes what has expired
    assert [passage.text for passage in block.index.passages()] == [BERN.content]


async def test_it_outlives_the_process(tmp_path):
    with M3MemoryBlock(path=tmp_path / "memory", model="tiny", owner="ann", ttl=60) as block:
        await said(block, CAT)
        copy = pickle.loads(pickle.dumps(block))
        assert copy.owner == "ann"
        assert texts(await copy.aget(QUESTION)) == [CAT.content]
    with M3MemoryBlock(tmp_path / "memory", owner="ann") as again:
        assert texts(await again.aget(QUESTION)) == [CAT.content]


def test_arguments(tiny):
    with pytest.raises(ArgumentError, match="Did you mean `similarity_top_k`"):
        M3MemoryBlock(model=tiny, top_k=3)
    for wrong in ({"ttl": 0}, {"weights": "nope"}, {"min_score": "high"}, {"similarity_top_k": 0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            M3MemoryBlock(model=tiny, **wrong)
    with pytest.raises(InputError, match="ttl"):
        M3MemoryBlock(model=tiny).ttl = -1


async def test_it_does_not_block_the_event_loop(fresh, monkeypatch):
    block = M3MemoryBlock(model=fresh)
    await said(block, CAT)
    passes_need_the_loop(fresh, monkeypatch)
    await said(block, BERN)
    assert len(texts(await block.aget(QUESTION))) == 2


async def test_in_the_memory_of_llama_index(memory):
    await fill(memory)
    await memory.aput(QUESTION[0])
    system, *history = await memory.aget()
    assert CAT.content in system.content
    assert CAT.content not in [message.content for message in history]
