"""A chat model behind a URL, in the form that OpenAI's chat completions have."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from m3rag.errors import AnswerError, InputError

API_KEY = "M3RAG_LLM_API_KEY"
"""The environment variable of the command line; a name of our own, so that no other service's key
is sent to a server that should not have it."""

TIMEOUT = 120.0  # seconds
_SHOWN = 300  # bytes of a server's complaint


@dataclass(frozen=True, slots=True)
class OpenAIChat:
    """A language model for `answer`: `POST {url}/chat/completions`.

    Redirects are not followed: an answer comes from the server that was named, and so does the key.

    Attributes:
        url: with its version, such as "http://localhost:11434/v1".
        model: what the server calls the model.
        api_key: sent as a bearer token, if there is one.
        timeout: seconds to wait for the connection, and for each piece of the answer.

    Raises:
        InputError: a URL without http or https, no model, or a timeout not above 0.
    """

    url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    timeout: float = TIMEOUT

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise InputError(f"The URL {self.url!r} must begin with http:// or https://.")
        if not self.model.strip():
            raise InputError(f"Which model of {self.url}? Name it: --llm-model NAME.")
        if not self.timeout > 0:
            raise InputError(f"A timeout of {self.timeout:g} seconds must be above 0.")

    def __call__(self, instructions: str, request: str) -> str:
        """What the model says.

        Raises:
            AnswerError: the server is not there, too slow, refuses, or sends something else.
        """
        messages = [
            {"role": "system", "content": instructions},
            {"role": "user", "content": request},
        ]
        target = f"{self.url.rstrip('/')}/chat/completions"
        body = {"model": self.model, "messages": messages, "temperature": 0}
        try:
            return _content(target, self._post(target, body))
        except HTTPError as error:
            with error:
                said = error.read(_SHOWN).decode("utf-8", "replace").strip()
            hint = f" The key is in {API_KEY}." if error.code in (401, 403) else ""
            raise AnswerError(
                f"{target} answered {error.code} {error.reason}: {said}{hint}"
            ) from None
        except TimeoutError:
            raise self._late(target) from None
        except (OSError, HTTPException, ValueError) as error:  # ValueError: a damaged URL
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise self._late(target) from None
            raise AnswerError(
                f"{target} cannot be reached ({type(reason).__name__}: {reason}). Is the server "
                "running, and the URL right?"
            ) from None

    def _post(self, target: str, body: dict[str, object]) -> bytes:
        headers = {"Content-Type": "application/json"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        request = Request(target, json.dumps(body).encode(), headers)
        with build_opener(_NoRedirect).open(request, timeout=self.timeout) as response:
            content: bytes = response.read()
        return content

    def _late(self, target: str) -> AnswerError:
        return AnswerError(
            f"{target} did not answer within {self.timeout:g} seconds. Wait longer (timeout=…, "
            "--llm-timeout), or take a smaller model."
        )


class _NoRedirect(HTTPRedirectHandler):
    """Makes a redirect an error; urllib would send the key along."""

    def redirect_request(self, *_: object) -> None:
        return None


def _content(target: str, sent: bytes) -> str:
    try:
        content = json.loads(sent)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        content = None
    if not isinstance(content, str):
        raise AnswerError(
            f"{target} sent no chat completion but {sent[:_SHOWN]!r}. The URL usually ends with "
            "/v1."
        )
    return content
