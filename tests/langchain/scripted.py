"""A chat model that follows a script, and calls tools as a language model does."""

from collections.abc import Iterator
from typing import Any

from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable


class Scripted(GenericFakeChatModel):
    """Returns the messages of its script, and records what it reads and which tools it has."""

    messages: Iterator[AIMessage | str]
    prompts: list[list[BaseMessage]]
    tools: list[str]

    def bind_tools(self, tools: Any, **settings: Any) -> Runnable[Any, Any]:
        self.tools[:] = [tool.name for tool in tools]
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **settings: Any) -> Any:
        self.prompts.append([*messages])
        return super()._generate(messages, *args, **settings)


def scripted(*script: AIMessage | str) -> Scripted:
    return Scripted(messages=iter(script), prompts=[], tools=[])


def call(name: str, *queries: str, **arguments: Any) -> AIMessage:
    """Return a message that calls a tool, once for each query, or with other arguments."""
    given = [{"query": query} for query in queries] or [arguments]
    calls = [
        {"name": name, "args": one, "id": f"{name}-{at}", "type": "tool_call"}
        for at, one in enumerate(given)
    ]
    return AIMessage("", tool_calls=calls)
