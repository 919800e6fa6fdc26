"""The OpenAI wire's stream: chunks that are passed on nearly as they are.

A chunk with a top-level `error` ends it; the usage comes in an extra chunk, or, from some hosts, in
every chunk with rising counts.
"""

from typing import Any

from shared.domain.inference import FinishReason
from worker.providers.completions import failed_answer, unknown_answer
from worker.providers.error_table import error_facts
from worker.providers.errors import MaybeBilled
from worker.providers.json_body import parse_answer
from worker.providers.openai_chat import FINISH, usage_of
from worker.providers.server_sent_events import Event
from worker.providers.streaming import StreamDecoder


class OpenAIStream(StreamDecoder):
    """See `streaming.StreamDecoder`."""

    def __init__(self) -> None:
        super().__init__()
        self._called: set[int] = set()

    def read(self, event: Event) -> list[dict[str, Any]]:
        """A chunk's choices; [DONE] is the end."""
        if event.data.startswith(b"[DONE]"):
            self.is_complete = True
            return []
        chunk = parse_answer(event.data)
        self.usage = usage_of(chunk.get("usage")) or self.usage
        if chunk.get("error"):
            raise MaybeBilled("error_in_answer", error_facts(event.data).message)
        self._note(chunk)
        return [self._choice(choice) for choice in chunk.get("choices") or ()]

    def _note(self, chunk: dict[str, Any]) -> None:
        self.answer_id = self.answer_id or str(chunk.get("id") or "")
        self.model = self.model or str(chunk.get("model") or "")
        self.keep(
            **{
                name: chunk[name]
                for name in ("created", "service_tier", "system_fingerprint")
                if chunk.get(name) is not None
            }
        )

    def _choice(self, choice: dict[str, Any]) -> dict[str, Any]:
        index = int(choice.get("index") or 0)
        delta = dict(choice.get("delta") or {})
        if delta.get("tool_calls"):
            self._called.add(index)
            delta["tool_calls"] = [
                {**call, "index": int(call.get("index") or 0)} for call in delta["tool_calls"]
            ]
        else:
            delta.pop("tool_calls", None)
        told = choice.get("finish_reason")
        return {
            "index": index,
            "delta": delta,
            "logprobs": choice.get("logprobs"),
            "finish_reason": self._finish(index, told).value if told else None,
        }

    def _finish(self, index: int, told: Any) -> FinishReason:
        reason = FINISH.get(told)
        if reason is None:
            raise unknown_answer(f"unknown finish_reason {told!r:.40}", self.usage)
        if reason is FinishReason.ERROR:
            raise failed_answer(f"finish_reason {told}", self.usage)
        if reason is FinishReason.STOP and index in self._called:
            return FinishReason.TOOL_CALLS
        return reason
