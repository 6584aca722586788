"""A client for servers with OpenAI's chat completions API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from http.client import HTTPException, HTTPResponse
from urllib.error import URLError
from urllib.parse import quote, urlsplit

from m3rag.answers.citations import too_long
from m3rag.answers.exchange import BEGINNING, Response, TooLargeError, opened, whole
from m3rag.answers.keys import check_key, keys_of_url
from m3rag.answers.redaction import Redactor, excerpt, valid
from m3rag.answers.server_events import HeldBack, is_stream, pieces
from m3rag.errors import AnswerError, InputError
from m3rag.limits import DEFAULT_LIMITS, Limits

API_KEY = "M3RAG_LLM_API_KEY"
"""The environment variable from which the command line reads the key.

It is specific to m3rag, so that the key of another service is not sent to the server.
"""

TIMEOUT = DEFAULT_LIMITS.answer_seconds
_LONGEST = 86_400.0  # seconds
_BRACKETS = 200_000  # of a response; millions of lists take seconds and hundreds of megabytes

_SAFE = "/%:@!$&'()*+,;=~?"


@dataclass(frozen=True, slots=True)
class OpenAIChat:
    """A language model for `answer`: `POST {url}/chat/completions`.

    Redirects are not followed, so that only the named server gets the key. The key, and keys in the
    URL, do not appear in `repr`, in errors and in answers: "***" replaces them.

    Attributes:
        url: The URL with its version, such as "http://localhost:11434/v1". A query such as
            "?api-version=1" is sent too.
        model: The name of the model on the server.
        api_key: The key to send as a bearer token, in visible ASCII characters; None sends none.
        timeout: The seconds within which the whole response must have arrived, from finding the
            server to the last byte. None takes `limits.answer_seconds`.
        limits: The most bytes of the response, in `answer_bytes`.

    Raises:
        InputError: The URL is not http or https or contains a password, the model has no name, the
            key cannot be sent, or the timeout is not above 0 or above a day.
    """

    url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    timeout: float | None = None
    limits: Limits = field(default=DEFAULT_LIMITS, repr=False)

    def __post_init__(self) -> None:
        _check_url(self.url)
        if not isinstance(self.model, str) or not self.model.strip():
            raise InputError(
                f"No model is named for {_printable(self.url)}. Set `model` (--llm-model NAME)."
            )
        if self.api_key:
            check_key(self.api_key)
        timeout = self.limits.answer_seconds if self.timeout is None else self.timeout
        if not isinstance(timeout, int | float) or not timeout > 0:
            raise InputError(f"`timeout` must be above 0 seconds, got {timeout!r}.")
        if timeout > _LONGEST:
            raise InputError(f"`timeout` must be at most {_LONGEST:,.0f} seconds, got {timeout:g}.")
        object.__setattr__(self, "timeout", timeout)

    def __repr__(self) -> str:
        hide = self._redactor()
        url, model = hide(_printable(self.url)), hide(self.model)
        return f"{type(self).__name__}(url={url!r}, model={model!r}, timeout={self.timeout})"

    def __call__(self, instructions: str, request: str) -> str:
        """Return the answer of the model, as valid Unicode.

        Raises:
            AnswerError: The server cannot be reached, is too slow, returns an error, or sends too
                much or something other than a chat completion.
        """
        hide = self._redactor()
        found = self._asked(valid(instructions), valid(request), partial(excerpt, redact=hide))
        if isinstance(found, AnswerError):  # raised here, it drags no other exception along
            raise found
        return hide.answer(valid(found))

    def _asked(self, instructions: str, request: str, show: partial[str]) -> str | AnswerError:
        """Return the answer, or the error to raise."""
        target = self._shown_target(show)
        try:
            with self._opened(instructions, request) as response:
                found = whole(response)
        except (TooLargeError, OSError, HTTPException, ValueError) as error:
            return self._failure(error, target, show)
        return _content(target, found, show, self.limits)

    def stream(self, instructions: str, request: str) -> Iterator[str]:
        """Yield the answer of the model in pieces, as they arrive, as valid Unicode.

        A server that does not stream gives one piece. Keys are hidden, so the last characters are
        held back until it is clear that no key begins in them.

        Raises:
            AnswerError: As for a call.
        """
        hide = self._redactor()
        show = partial(excerpt, redact=hide)
        for found in self._streamed(valid(instructions), valid(request), show, hide):
            if isinstance(found, AnswerError):  # raised here, it drags no other exception along
                raise found
            if found:
                yield found

    def _streamed(
        self, instructions: str, request: str, show: partial[str], hide: Redactor
    ) -> Iterator[str | AnswerError]:
        """Yield the pieces of the answer, or at last the error to raise."""
        target = self._shown_target(show)
        held = HeldBack(hide)
        try:
            with self._opened(instructions, request, stream=True) as response:
                if not is_stream(response):
                    found = _content(target, whole(response), show, self.limits)
                    yield found if isinstance(found, AnswerError) else hide.answer(valid(found))
                    return
                for piece in pieces(response, self.limits):
                    yield held.add(valid(piece))
        except AnswerError as error:  # of what the server sent
            yield AnswerError(f"{target} {show(str(error))}")
        except (TooLargeError, OSError, HTTPException, ValueError) as error:
            yield self._failure(error, target, show)
        else:
            yield held.rest()

    def _shown_target(self, show: partial[str]) -> str:
        return f"{show(_printable(self.url)).rstrip('/')}/chat/completions"

    def _failure(self, error: Exception, target: str, show: partial[str]) -> AnswerError:
        """Return the error to raise for a server that cannot be used."""
        if isinstance(error, TooLargeError):
            return AnswerError(
                f"{target} sent more than {self.limits.answer_bytes:,} bytes. Raise the limit "
                "`answer_bytes` if that is right."
            )
        behind = error.reason if isinstance(error, URLError) else None
        reason = behind if isinstance(behind, OSError) else error
        if isinstance(reason, TimeoutError):
            return AnswerError(
                f"{target} did not answer within {self.timeout:g} seconds. Raise the timeout "
                "(`timeout`, --llm-timeout) or use a smaller model."
            )
        return AnswerError(_unreachable(target, type(reason).__name__, show(str(reason))))

    def _opened(
        self, instructions: str, request: str, *, stream: bool = False
    ) -> AbstractContextManager[HTTPResponse]:
        messages = [
            {"role": "system", "content": instructions},
            {"role": "user", "content": request},
        ]
        body: dict[str, object] = {"model": self.model, "messages": messages, "temperature": 0}
        if stream:
            body["stream"] = True
        headers = {"Content-Type": "application/json"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        most = int(self.limits.answer_bytes)
        content = json.dumps(body).encode()
        return opened(_target(self.url), content, headers, seconds=self.timeout or 0.0, most=most)

    def _redactor(self) -> Redactor:
        return Redactor([self.api_key or "", *keys_of_url(self.url)])


def _check_url(url: object) -> None:
    if not isinstance(url, str):
        raise InputError(f"The URL must be a string, got {type(url).__name__}.")
    if not url.startswith(("http://", "https://")):
        start = excerpt(url[:7], Redactor())  # it may be a key in the wrong place
        raise InputError(f"The URL '{start}…' must begin with http:// or https://.")
    if any(not character.isprintable() or character.isspace() for character in url):
        raise InputError(
            f"The URL {_printable(url)!r} contains white space or control characters. Remove them: "
            "a line that was read from a file often ends with a line break."
        )
    if "@" in url:
        raise InputError(
            f"The URL {_printable(url)!r} contains an @, and so perhaps a password. Remove it, and "
            f"pass the key as `api_key` ({API_KEY}). In a path, write %40."
        )


def _printable(url: str) -> str:
    """Return a URL without its query, and without anything that may be a password."""
    scheme, mark, rest = url.partition("://")
    base = "…" if "@" in rest else re.split(r"[?#]", rest, maxsplit=1)[0]
    return excerpt(f"{scheme}{mark}{base}", Redactor())


def _target(url: str) -> str:
    """Return the URL to which requests go, in ASCII."""
    parts = urlsplit(url)
    path = f"{parts.path.rstrip('/')}/chat/completions"
    host = parts.netloc if parts.netloc.isascii() else parts.netloc.encode("idna").decode()
    return parts._replace(
        netloc=host, path=quote(path, _SAFE), query=quote(parts.query, _SAFE), fragment=""
    ).geturl()


def _unreachable(target: str, kind: str, reason: str) -> str:
    return (
        f"{target} cannot be reached ({kind}: {reason}). Check that the server is running and the "
        "URL is right."
    )


def _content(
    target: str, response: Response, show: partial[str], limits: Limits
) -> str | AnswerError:
    """Return the text of a chat completion, or the error to raise."""
    body, status = response.body, response.status
    beginning = show(body[:BEGINNING].decode("utf-8", "replace"))
    if not 200 <= status < 300:
        hint = f" Check the API key ({API_KEY})." if status in (401, 403) else ""
        return AnswerError(f"{target} answered {status} {show(response.reason)}: {beginning}{hint}")
    if response.encoding:
        return AnswerError(
            f"{target} sent a compressed response ({show(response.encoding)}), although it was "
            "asked for an uncompressed one."
        )
    try:
        few = body.count(b"[") + body.count(b"{") <= _BRACKETS
        content = json.loads(body)["choices"][0]["message"]["content"] if few else None
    except (ValueError, LookupError, TypeError, RecursionError):
        content = None
    if isinstance(content, str):
        return too_long(content, limits) or content
    return AnswerError(
        f'{target} did not send a chat completion but "{beginning}". The URL usually ends with /v1.'
    )
