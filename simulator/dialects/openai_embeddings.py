"""OpenAI embeddings: vectors drawn from the texts, the same for the same text and model."""

# ruff: noqa: ARG002 (the verbs of `Dialect` give more than this vendor needs)

import base64
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import shake_128
from math import sqrt
from typing import Any, Final

import orjson

from simulator.dialects.openai_chat import OpenAIChat
from simulator.dialects.reading import model_of, refuse, whole
from simulator.exchange import Ask, Frame, Json, Reply, key_of

_DIMENSIONS: Final = 256
_MOST_INPUTS: Final = 2048


@dataclass(frozen=True)
class EmbeddingsAsk(Ask):
    """A request for embeddings. dimensions: numbers a vector; as_base64: packed floats."""

    dimensions: int = _DIMENSIONS
    as_base64: bool = False

    @property
    def input_tokens(self) -> int:
        """A token for four bytes of each text, or the tokens that were given."""
        return self.text_bytes


class OpenAIEmbeddings(OpenAIChat):
    """The dialect of `POST .../embeddings`; errors and headers are those of its chat."""

    def parse(self, path: str, headers: Mapping[str, str], query: str, body: Json) -> Ask:
        """Read a request for embeddings. Raises Refused."""
        texts, tokens = _inputs(body.get("input"))
        return EmbeddingsAsk(
            wire=self.wire,
            model=model_of(body),
            path=path,
            key=key_of(headers, query),
            prompt=texts[-1],
            text_bytes=tokens,
            messages=0,
            choices=0,
            embedded=texts,
            dimensions=whole(body, "dimensions") or _DIMENSIONS,
            as_base64=body.get("encoding_format") == "base64",
        )

    def render(self, ask: Ask, reply: Reply, call_id: str) -> bytes:
        """Write the list of vectors."""
        if not isinstance(ask, EmbeddingsAsk):
            raise TypeError("not a request for embeddings")
        tokens = reply.usage.total_input
        data = [
            {"object": "embedding", "index": place, "embedding": _vector(ask, text)}
            for place, text in enumerate(ask.embedded)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return orjson.dumps({"object": "list", "data": data, "model": ask.model, "usage": usage})

    def frames(self, ask: Ask, reply: Reply, call_id: str) -> Iterator[Frame]:
        """Embeddings are never streamed: all of them at once."""
        yield Frame(self.render(ask, reply, call_id), 0)


def _inputs(given: Any) -> tuple[tuple[str, ...], int]:
    """The texts and the number of tokens; token numbers are taken for the text that spells them."""
    if isinstance(given, list) and given and type(given[0]) is int:
        given = [given]
    inputs = given if isinstance(given, list) else [given]
    if not inputs or len(inputs) > _MOST_INPUTS or not all(map(_is_input, inputs)):
        raise refuse("Invalid 'input': expected a string, an array of strings, or tokens.", "input")
    tokens = sum(
        len(one) if isinstance(one, list) else -(-len(one.encode("utf-8", "replace")) // 4)
        for one in inputs
    )
    return tuple(one if isinstance(one, str) else str(one) for one in inputs), tokens


def _is_input(one: Any) -> bool:
    if isinstance(one, list):
        return bool(one) and all(type(token) is int for token in one)
    return isinstance(one, str) and bool(one)


def _vector(ask: EmbeddingsAsk, text: str) -> str | list[float]:
    """Numbers of length one, drawn from model and text."""
    seed = f"{ask.model}\n{text}".encode("utf-8", "replace")
    drawn = struct.unpack(f"<{ask.dimensions}h", shake_128(seed).digest(2 * ask.dimensions))
    length = sqrt(sum(number * number for number in drawn)) or 1.0
    numbers = [number / length for number in drawn]
    if ask.as_base64:
        return base64.b64encode(struct.pack(f"<{ask.dimensions}f", *numbers)).decode()
    return numbers
