"""The Anthropic wire's stream: named events from message_start to message_stop.

The input's usage comes with the first event, the output's, cumulative, with the last but one; an
`error` event may end it at any time.
"""

from typing import Any

from shared.domain.inference import FinishReason
from worker.providers.anthropic_messages import FINISH, usage_of
from worker.providers.completions import unknown_answer
from worker.providers.error_table import error_facts
from worker.providers.errors import MaybeBilled
from worker.providers.json_body import parse_answer
from worker.providers.server_sent_events import Event
from worker.providers.streaming import StreamDecoder, call_delta, choice_of


class AnthropicStream(StreamDecoder):
    """See `streaming.StreamDecoder`."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[str, Any] = {}
        self._calls: dict[int, int] = {}  # content block -> number of the tool call

    def read(self, event: Event) -> list[dict[str, Any]]:
        """Text, tool calls and the stop reason; thinking is left out."""
        told = parse_answer(event.data)
        match told.get("type"):
            case "message_start":
                message = told["message"]
                self.answer_id = str(message.get("id") or "")
                self.model = str(message.get("model") or "")
                self._count(message.get("usage"))
                return [choice_of({"content": ""})]
            case "content_block_start":
                return self._block(told["index"], told["content_block"])
            case "content_block_delta":
                return self._delta(told["index"], told["delta"])
            case "message_delta":
                self._count(told.get("usage"))
                return self._stop(told["delta"])
            case "message_stop":
                self.is_complete = True
                return []
            case "error":
                raise MaybeBilled("error_in_answer", error_facts(event.data).message)
            case _:
                return []  # pings, and kinds that are still to be invented

    def _count(self, usage: Any) -> None:
        if isinstance(usage, dict):
            self._counts |= {name: value for name, value in usage.items() if value is not None}
            self.usage = usage_of(self._counts)

    def _block(self, index: int, block: dict[str, Any]) -> list[dict[str, Any]]:
        if block["type"] == "tool_use":
            number = self._calls[index] = len(self._calls)
            return [choice_of(call_delta(number, call_id=block["id"], name=block["name"]))]
        text = block.get("text") if block["type"] == "text" else None
        return [choice_of({"content": text})] if text else []

    def _delta(self, index: int, delta: dict[str, Any]) -> list[dict[str, Any]]:
        if delta["type"] == "text_delta":
            return [choice_of({"content": str(delta["text"])})]
        if delta["type"] == "input_json_delta" and index in self._calls:
            piece = str(delta["partial_json"])
            return [choice_of(call_delta(self._calls[index], arguments=piece))]
        return []

    def _stop(self, delta: dict[str, Any]) -> list[dict[str, Any]]:
        told = delta.get("stop_reason")
        if told is None:
            return []
        reason = FINISH.get(told)
        if reason is None:
            raise unknown_answer(f"unknown stop_reason {told!r:.40}", self.usage)
        refusal: dict[str, Any] = {}
        if reason is FinishReason.CONTENT_FILTER:
            details = delta.get("stop_details") or {}
            why = details.get("explanation") or details.get("category") or "the model refused"
            refusal = {"refusal": str(why)}
        return [choice_of(refusal, finish=reason)]
