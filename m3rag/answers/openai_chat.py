"""A client for servers with OpenAI's chat completions API."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from m3rag.errors import AnswerError, InputError

API_KEY = "M3RAG_LLM_API_KEY"
"""The environment variable from which the command line reads the key.

It is specific to m3rag, so that the key of another service is not sent to the server.
"""

TIMEOUT = 120.0  # seconds
_SHOWN = 300  # bytes of a response that an error message quotes


@dataclass(frozen=True, slots=True)
class OpenAIChat:
    """A language model for `answer`: `POST {url}/chat/completions`.

    Redirects are not followed, so that only the named server gets the key.

    Attributes:
        url: The URL with its version, such as "http://localhost:11434/v1".
        model: The name of the model on the server.
        api_key: The key to send as a bearer token; None sends none.
        timeout: Seconds to wait for the connection, and for each part of the response.

    Raises:
        InputError: The URL is not http or https, the model has no name, or the timeout is not
            above 0.
    """

    url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    timeout: float = TIMEOUT

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise InputError(f"The URL {self.url!r} must begin with http:// or https://.")
        if not self.model.strip():
            raise InputError(f"No model is named for {self.url}. Set `model` (--llm-model NAME).")
        if not self.timeout > 0:
            raise InputError(f"`timeout` must be above 0 seconds, got {self.timeout:g}.")

    def __call__(self, instructions: str, request: str) -> str:
        """Return the answer of the model.

        Raises:
            AnswerError: The server cannot be reached, is too slow, returns an error, or sends
                something other than a chat completion.
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
                excerpt = error.read(_SHOWN).decode("utf-8", "replace").strip()
            hint = f" Check the API key ({API_KEY})." if error.code in (401, 403) else ""
            raise AnswerError(
                f"{target} answered {error.code} {error.reason}: {excerpt}{hint}"
            ) from None
        except TimeoutError:
            raise self._timed_out(target) from None
        except (OSError, HTTPException, ValueError) as error:  # ValueError: a damaged URL
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise self._timed_out(target) from None
            raise AnswerError(
                f"{target} cannot be reached ({type(reason).__name__}: {reason}). Check that the "
                "server is running and the URL is right."
            ) from None

    def _post(self, target: str, body: dict[str, object]) -> bytes:
        headers = {"Content-Type": "application/json"}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        request = Request(target, json.dumps(body).encode(), headers)
        with build_opener(_NoRedirect).open(request, timeout=self.timeout) as response:
            content: bytes = response.read()
        return content

    def _timed_out(self, target: str) -> AnswerError:
        return AnswerError(
            f"{target} did not answer within {self.timeout:g} seconds. Raise the timeout "
            "(`timeout`, --llm-timeout) or use a smaller model."
        )


class _NoRedirect(HTTPRedirectHandler):
    """A handler that makes a redirect an error; urllib would send the key along."""

    def redirect_request(self, *_: object) -> None:
        return None


def _content(target: str, response: bytes) -> str:
    try:
        content = json.loads(response)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        content = None
    if not isinstance(content, str):
        raise AnswerError(
            f"{target} did not send a chat completion but {response[:_SHOWN]!r}. The URL usually "
            "ends with /v1."
        )
    return content
