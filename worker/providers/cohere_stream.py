"""The Cohere wire's stream: typed events from message-start to message-end, which has the usage."""

from typing import Any

from shared.domain.inference import FinishReason
from worker.providers.cohere_chat import FINISH, usage_of
from worker.providers.completions import failed_answer, unknown_answer
from worker.providers.json_body import parse_answer
from worker.providers.server_sent_events import Event
from worker.providers.streaming import StreamDecoder, call_delta, choice_of


class CohereStream(StreamDecoder):
    """See `streaming.StreamDecoder`."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[int, int] = {}  # Cohere's index -> number of the tool call

    def read(self, event: Event) -> list[dict[str, Any]]:
        """Text, tool calls and the finish reason; thinking, plans and citations are left out."""
        told = parse_answer(event.data)
        message = (told.get("delta") or {}).get("message") or {}
        match told.get("type"):
            case "message-start":
                self.answer_id = str(told.get("id") or "")
                return [choice_of({"content": ""})]
            case "content-start" | "content-delta":
                content = message.get("content")
                text = content.get("text") if isinstance(content, dict) else None
                return [choice_of({"content": text})] if isinstance(text, str) and text else []
            case "tool-call-start":
                return self._begin_call(int(told.get("index") or 0), message["tool_calls"])
            case "tool-call-delta":
                number = self._calls[int(told.get("index") or 0)]
                piece = str(message["tool_calls"]["function"]["arguments"])
                return [choice_of(call_delta(number, arguments=piece))]
            case "message-end":
                return self._end(told["delta"])
            case _:
                return []

    def _begin_call(self, index: int, call: dict[str, Any]) -> list[dict[str, Any]]:
        number = self._calls[index] = len(self._calls)
        function = call["function"]
        delta = call_delta(
            number,
            arguments=function.get("arguments") or "",
            call_id=call.get("id"),
            name=function["name"],
        )
        return [choice_of(delta)]

    def _end(self, delta: dict[str, Any]) -> list[dict[str, Any]]:
        self.usage = usage_of(delta.get("usage"))
        self.is_complete = True
        told = str(delta.get("finish_reason"))
        reason = FINISH.get(told)
        if reason is None:
            raise unknown_answer(f"unknown finish_reason {told!r:.40}", self.usage)
        if reason is FinishReason.ERROR:
            raise failed_answer(f"finish_reason {told}", self.usage)
        return [choice_of({}, finish=reason)]
