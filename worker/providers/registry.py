"""Which wire a provider speaks, and its keys with how busy each is in this process."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from shared.catalog.spec import Catalog, WireName
from worker.providers.anthropic_messages import AnthropicMessages
from worker.providers.anthropic_stream import AnthropicStream
from worker.providers.base import Wire
from worker.providers.cohere_chat import CohereChat
from worker.providers.cohere_stream import CohereStream
from worker.providers.gemini_content import GeminiContent
from worker.providers.gemini_stream import GeminiStream
from worker.providers.openai_chat import OpenAIChat
from worker.providers.openai_stream import OpenAIStream
from worker.providers.streaming import StreamDecoder

WIRES: Final[Mapping[WireName, Wire]] = {
    WireName.OPENAI: OpenAIChat(),
    WireName.ANTHROPIC: AnthropicMessages(),
    WireName.GEMINI: GeminiContent(),
    WireName.COHERE: CohereChat(),
}
STREAMS: Final[Mapping[WireName, Callable[[], StreamDecoder]]] = {
    WireName.OPENAI: OpenAIStream,
    WireName.ANTHROPIC: AnthropicStream,
    WireName.GEMINI: GeminiStream,
    WireName.COHERE: CohereStream,
}


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """An API key and the name it may be called by; the key itself is never shown."""

    key_id: str
    secret: str = field(repr=False)


def key_id_of(provider: str, key: str) -> str:
    """The public name of a key: provider, colon, first 8 hex digits of its SHA-256."""
    return f"{provider}:{hashlib.sha256(key.encode()).hexdigest()[:8]}"


class ProviderRegistry:
    """keys: provider name -> its API keys; a provider without any is asked without a key."""

    def __init__(self, catalog: Catalog, keys: Mapping[str, tuple[str, ...]]) -> None:
        self._wires = {name: WIRES[spec.wire] for name, spec in catalog.providers.items()}
        self._streams = {name: STREAMS[spec.wire] for name, spec in catalog.providers.items()}
        self._keys = {
            name: tuple(
                ProviderKey(key_id_of(name, key), key)
                for key in dict.fromkeys(keys.get(name) or self._keyless(catalog, name))
            )
            for name in catalog.providers
        }
        self._in_flight: Counter[str] = Counter()

    def wire(self, provider: str) -> Wire:
        """The wire of a provider of the catalog."""
        return self._wires[provider]

    def stream_decoder(self, provider: str) -> StreamDecoder:
        """A decoder for one streamed answer of a provider of the catalog."""
        return self._streams[provider]()

    def keys_by_load(self, provider: str) -> tuple[ProviderKey, ...]:
        """A provider's keys, the one with the fewest calls in flight here first."""
        keys = self._keys[provider]
        if len(keys) == 1:
            return keys
        return tuple(sorted(keys, key=lambda key: self._in_flight[key.key_id]))

    def load_of(self, key_id: str) -> int:
        """The calls of this process that use a key or wait for it."""
        return self._in_flight[key_id]

    def started(self, key_id: str) -> None:
        """A call uses this key or waits for it."""
        self._in_flight[key_id] += 1

    def ended(self, key_id: str) -> None:
        """It has ended."""
        self._in_flight[key_id] -= 1

    @staticmethod
    def _keyless(catalog: Catalog, provider: str) -> tuple[str, ...]:
        spec = catalog.providers[provider]
        needs_key = any(key != "none" for key in spec.api_keys)
        return () if needs_key else ("",)
