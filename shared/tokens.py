"""Token counts: exact where a model's tokenizer is shipped, an upper bound for every request.

The bound decides what is reserved, so it may be too high and must never be too low. A tokenizer
that works on bytes makes at most one token of each byte, which is the bound where none is shipped.
"""

from collections.abc import Sequence
from functools import cache
from typing import Final, Protocol

TOKENIZERS: Final = frozenset(
    {
        "cl100k_base", "o200k_base", "gpt-oss", "llama3", "deepseek_v3",
        "qwen3", "glm4", "kimi_k2", "kimi_k3", "mistral_v3",
    }
)  # fmt: skip
"""Names a catalog may give as `tokenizer`: all of them ship with the product."""

# Counting costs 0.2 ms per 10 kB of prose and up to 35 ms for this many characters; beyond it the
# bytes are the bound, so that no prompt stalls the loop it is counted in.
EXACT_LIMIT_CHARS: Final = 200_000

_PER_MESSAGE: Final = 16  # role markers and separators of the chat templates take 3 to 8 tokens
_PER_REQUEST: Final = 64  # a template's own preamble and the answer's opening
_TOOL_PROMPT: Final = 1024  # providers put a prompt of their own before offered tools


class _Tokenizer(Protocol):
    def encode_ordinary(self, text: str) -> list[int]: ...


def count_tokens(text: str, tokenizer: str) -> int:
    """The exact number of tokens of a text; special tokens spelled out in it count as text.

    Raises KeyError for a tokenizer that is not in `TOKENIZERS`.
    """
    return len(_load(tokenizer).encode_ordinary(text))


def input_token_bound(
    body_bytes: int, texts: Sequence[str], messages: int, tokenizer: str | None, *, tools: bool
) -> int:
    """The most input tokens a provider may count for a request.

    body_bytes: length of the encoded body. texts: the messages' texts within it; everything else
    of the body (tools, schemas, names) counts by the byte. messages: how many there are. tools:
    whether any are offered.
    """
    extra = _TOOL_PROMPT if tools else 0
    if tokenizer is None or sum(map(len, texts)) > EXACT_LIMIT_CHARS:
        return body_bytes + extra
    counted = sum(count_tokens(text, tokenizer) for text in texts)
    text_bytes = sum(len(text.encode()) for text in texts)
    rest = max(0, body_bytes - text_bytes)
    return counted + rest + messages * _PER_MESSAGE + _PER_REQUEST + extra


@cache
def _load(name: str) -> _Tokenizer:
    if name not in TOKENIZERS:
        raise KeyError(name)
    from splintr import Tokenizer  # with the vocabulary 40 ms: only when a count is asked for

    tokenizer: _Tokenizer = Tokenizer.from_pretrained(name)
    return tokenizer
