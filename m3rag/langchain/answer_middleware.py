"""A middleware for LangChain's agents that checks the citations of answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from typing import Any, Literal, get_args

from m3rag.extras import require

require("langchain", "agents")

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage

from m3rag.answers import Answer
from m3rag.errors import InputError
from m3rag.frameworks import refusing
from m3rag.langchain.answers import checked_answer, score_of
from m3rag.langchain.tool import found_documents, numbered_text
from m3rag.limits import check_count, is_number, shown
from m3rag.threads import in_thread

OnFailure = Literal["retry", "refuse", "annotate"]

CHECKED = "checked_answer"
"""The key of `response_metadata` under which a message has the result of the check."""

REFUSAL = "The documents do not answer this question."

_AGAIN = (
    "This answer was not accepted: {problem} Answer again, only from the numbered passages, and "
    "cite them by their numbers, like [1]. If they do not answer the question, say so."
)

Flow = Generator[ModelRequest, ModelResponse, ModelResponse]


class M3AnswerMiddleware(AgentMiddleware):
    """Checks that an agent answers from the passages that its tools have found.

    The passages of all searches of a conversation get numbers of their own: `retrieval_tool` alone
    counts from 1 in each search. An answer must cite one of them, and its quotations must stand in
    the passages that it cites (see `m3rag.answers`). Citations of passages that do not exist are
    removed. An answer that cites nothing passes if the agent has not searched for it: it may be a
    greeting or a question.

    The result is in the message: `message.response_metadata["checked_answer"]` has the cited
    passages with their ids and spans, the quotations, "supported", the "problem" if there is one,
    and "refused". Tokens are streamed before the check.

    Example:
        agent = create_agent(model, tools=[tool], middleware=[M3AnswerMiddleware(min_score=0.6)])

    Args:
        on_failure: What happens to an answer that fails: "retry" lets the language model answer
            again, and refuses if that fails too; "refuse" replaces it by `refusal`; "annotate"
            keeps it and says so.
        retries: How often the language model may answer again.
        min_score: The fused score that a cited passage must have. The tool's retriever must return
            scores then.
        needs_search: Whether an answer fails that comes without a search and cites nothing.
        refusal: The text of a refusal.

    Raises:
        InputError: An argument has a value that it cannot have.
    """

    @refusing
    def __init__(
        self,
        *,
        on_failure: OnFailure = "retry",
        retries: int = 1,
        min_score: float | None = None,
        needs_search: bool = False,
        refusal: str = REFUSAL,
    ) -> None:
        super().__init__()
        if on_failure not in get_args(OnFailure):
            choices = ", ".join(f'"{name}"' for name in get_args(OnFailure))
            raise InputError(f"`on_failure` must be one of {choices}, got {shown(on_failure)}.")
        if min_score is not None and not is_number(min_score):
            raise InputError(f"`min_score` must be a number or None, got {shown(min_score)}.")
        if not isinstance(refusal, str) or not refusal.strip():
            raise InputError(f"`refusal` must be a text, got {shown(refusal)}.")
        self.on_failure = on_failure
        self.retries = check_count("retries", retries)
        self.min_score = min_score
        self.needs_search = needs_search
        self.refusal = refusal

    def before_model(self, state: Any, runtime: object) -> dict[str, Any] | None:
        """Give the passages of all searches numbers of their own."""
        numbers = _numbers(state["messages"])
        changed = []
        for message in state["messages"]:
            if documents := found_documents(message):
                text = numbered_text(documents, [numbers[_key(d)][0] for d in documents])
                if text != message.content:
                    changed.append(message.model_copy(update={"content": text}))
        return {"messages": changed} if changed else None

    def wrap_model_call(
        self, request: ModelRequest, handler: Callable[[ModelRequest], ModelResponse]
    ) -> ModelResponse:
        """Check the answer of the language model, and let it answer again if it fails."""
        flow = self._flow(request)
        step: ModelRequest | ModelResponse = next(flow)
        while isinstance(step, ModelRequest):
            step = _advance(flow, handler(step))
        return step

    async def awrap_model_call(
        self, request: ModelRequest, handler: Callable[[ModelRequest], Awaitable[ModelResponse]]
    ) -> ModelResponse:
        """Run `wrap_model_call` without blocking the event loop."""
        flow = self._flow(request)
        step: ModelRequest | ModelResponse = next(flow)
        while isinstance(step, ModelRequest):
            step = await in_thread(_advance, flow, await handler(step))
        return step

    def _flow(self, request: ModelRequest) -> Flow:
        """Yield what to ask the language model, receive its response, and return the final one."""
        asked, left = request, self.retries
        while True:
            response = yield asked
            message = _answer_of(response)
            if message is None:
                return response
            answer, problem = self._check(message.text, request.messages)
            if answer is None:
                return response
            if problem is None or self.on_failure == "annotate":
                return _final(response, message, answer.text, answer, problem)
            if self.on_failure == "refuse" or not left:
                return _final(response, message, self.refusal, answer, problem)
            left -= 1
            again = HumanMessage(_AGAIN.format(problem=problem))
            asked = asked.override(messages=[*asked.messages, message, again])

    def _check(self, text: str, messages: Sequence[AnyMessage]) -> tuple[Answer | None, str | None]:
        """Return the checked answer and what is wrong with it; (None, None) if nothing is due."""
        last = max((i for i, m in enumerate(messages) if isinstance(m, HumanMessage)), default=0)
        documents = [document for _, document in _numbers(messages).values()]
        question = messages[last].text if messages else ""
        answer = checked_answer(text, documents, question=question)
        searched = any(_is_search(message) for message in messages[last:])
        cites = answer.cited or answer.removed
        if not (searched or cites or self.needs_search):
            return None, None
        return answer, self._problem(answer)

    def _problem(self, answer: Answer) -> str | None:
        if not answer.cited:
            return "It cites no passage that was found."
        if not answer.supported:
            lost = [quote.text for quote in answer.quotes if not quote.found]
            return f"It quotes what the cited passages do not say: {shown(lost[0])}."
        scores = [hit.score for hit in answer.citations.values()]
        if self.min_score is not None and max(scores) < self.min_score:
            return f"The cited passages score at most {max(scores):.2f}, below {self.min_score:g}."
        return None


def _advance(flow: Flow, response: ModelResponse) -> ModelRequest | ModelResponse:
    """Send a response to a flow, and return its next request or its result."""
    try:
        return flow.send(response)
    except StopIteration as end:  # it cannot cross an await
        return end.value  # type: ignore[no-any-return]


def _answer_of(response: ModelResponse) -> AIMessage | None:
    """Return the message with an answer in words; None if the agent goes on."""
    last = response.result[-1] if response.result else None
    if response.structured_response is not None or not isinstance(last, AIMessage):
        return None
    return None if last.tool_calls else last


def _numbers(messages: Sequence[AnyMessage]) -> dict[str, tuple[int, Document]]:
    """Return the number of each passage that was found, and its best result, by its key."""
    found: dict[str, tuple[int, Document]] = {}
    for message in messages:
        for document in found_documents(message):
            number, best = found.get(_key(document), (len(found) + 1, document))
            better = document if score_of(document) > score_of(best) else best
            found[_key(document)] = number, better
    return found


def _key(document: Document) -> str:
    return document.id or document.page_content


def _is_search(message: AnyMessage) -> bool:
    """Return whether a message is what a search found, which may be nothing."""
    if not isinstance(message, ToolMessage) or not isinstance(message.artifact, list):
        return False
    return len(found_documents(message)) == len(message.artifact)


def _final(
    response: ModelResponse, message: AIMessage, text: str, answer: Answer, problem: str | None
) -> ModelResponse:
    """Return a response whose last message has a text and the result of the check."""
    result = {
        **answer.to_dict(),
        "supported": problem is None,
        "problem": problem,
        "refused": text != answer.text,
    }
    changed = {
        "content": _with_text(message, text),
        "response_metadata": {**message.response_metadata, CHECKED: result},
    }
    return ModelResponse(result=[*response.result[:-1], message.model_copy(update=changed)])


def _with_text(message: AIMessage, text: str) -> Any:
    """Return the content of a message with another text, and with all that is not text."""
    if isinstance(message.content, str):
        return text
    kept = [b for b in message.content if isinstance(b, dict) and b.get("type") != "text"]
    return [*kept, {"type": "text", "text": text}]
