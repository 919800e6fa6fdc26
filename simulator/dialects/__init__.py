"""The four wires: one file each, chosen by the request's path."""

from simulator.dialects.anthropic_messages import AnthropicMessages
from simulator.dialects.cohere_chat import CohereChat
from simulator.dialects.gemini_content import PATH, GeminiContent
from simulator.dialects.openai_chat import OpenAIChat
from simulator.dialects.openai_embeddings import OpenAIEmbeddings
from simulator.exchange import Dialect

OPENAI: Dialect = OpenAIChat()
EMBEDDINGS: Dialect = OpenAIEmbeddings()
ANTHROPIC: Dialect = AnthropicMessages()
GEMINI: Dialect = GeminiContent()
COHERE: Dialect = CohereChat()


def dialect_at(path: str) -> Dialect | None:
    """The wire spoken at a path, whatever stands before its end."""
    if path.endswith("/chat/completions"):
        return OPENAI
    if path.endswith("/embeddings"):
        return EMBEDDINGS
    if path.endswith("/v1/messages"):
        return ANTHROPIC
    if path.endswith("/v2/chat"):
        return COHERE
    return GEMINI if PATH.search(path) else None
