"""What the bodies of requests have in common."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from m3rag.errors import InputError

TokenIds = list[int]
Inputs = str | list[str] | TokenIds | list[TokenIds]

ModelName = Annotated[
    str | None, Field(description="A model of `/v1/models`; the usual one by default.")
]

Weights = Annotated[
    str | dict[str, float],
    Field(
        description="The weights of the channels, as for a search: a name, or numbers. A "
        "cross-encoder has none."
    ),
]

TruncationDirection = Annotated[
    Literal["right", "Right"] | None, Field(description="Texts are cut at their end.")
]

Truncate = Annotated[
    bool,
    Field(
        description="Encode the beginning of a text that has more tokens than the model reads; "
        "false refuses it."
    ),
]


class Body(BaseModel):
    """A body of a request, in which every field is known: a misspelt one is an error."""

    model_config = ConfigDict(extra="forbid")


class Usage(BaseModel):
    """The number of tokens; both figures are the same."""

    prompt_tokens: int
    total_tokens: int


def texts_of(inputs: Inputs) -> list[str]:
    """Return the texts of a field that is one text or several.

    Raises:
        InputError: It has token ids: nothing says whose they are, and those of another vocabulary
            would give wrong vectors without an error.
    """
    if isinstance(inputs, str):
        return [inputs]
    texts = [item for item in inputs if isinstance(item, str)]
    if len(texts) < len(inputs):
        raise InputError(
            "The input has token ids, and the server cannot know of which vocabulary. Send texts. "
            "LangChain's OpenAIEmbeddings sends texts with check_embedding_ctx_length=False."
        )
    return texts
