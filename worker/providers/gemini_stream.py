"""The Gemini wire's stream: each event is a whole response with the next piece of each candidate.

The last event of a candidate has its finish reason; the counts of the usage rise with the events.
"""

from typing import Any

import orjson

from shared.domain.inference import FinishReason
from worker.providers.completions import failed_answer, unknown_answer
from worker.providers.error_table import error_facts
from worker.providers.errors import MaybeBilled
from worker.providers.gemini_content import FINISH, usage_of
from worker.providers.json_body import parse_answer
from worker.providers.server_sent_events import Event
from worker.providers.streaming import StreamDecoder, call_delta, choice_of


class GeminiStream(StreamDecoder):
    """See `streaming.StreamDecoder`. There is no last event: a stream whose candidates have all
    told their finish reason is complete.
    """

    def __init__(self) -> None:
        super().__init__()
        self._calls: dict[int, int] = {}  # candidate -> how many functions it has called

    def read(self, event: Event) -> list[dict[str, Any]]:
        """The candidates' pieces; a blocked prompt is an answer without text."""
        told = parse_answer(event.data)
        self.usage = usage_of(told.get("usageMetadata")) or self.usage
        if told.get("error"):
            raise MaybeBilled("error_in_answer", error_facts(event.data).message)
        self.answer_id = self.answer_id or str(told.get("responseId") or "")
        self.model = self.model or str(told.get("modelVersion") or "")
        choices = [
            choice
            for place, candidate in enumerate(told.get("candidates") or ())
            for choice in self._candidate(int(candidate.get("index") or place), candidate)
        ]
        blocked = (told.get("promptFeedback") or {}).get("blockReason")
        if blocked and not choices:
            delta = {"refusal": f"the prompt was blocked: {blocked}"}
            choices = [choice_of(delta, finish=FinishReason.CONTENT_FILTER)]
        self.is_complete = self.is_complete or any(c["finish_reason"] for c in choices)
        return choices

    def _candidate(self, index: int, candidate: dict[str, Any]) -> list[dict[str, Any]]:
        choices = []
        for part in (candidate.get("content") or {}).get("parts") or ():
            if part.get("functionCall"):
                choices.append(choice_of(self._call(index, part["functionCall"]), index=index))
            elif isinstance(part.get("text"), str) and not part.get("thought"):
                choices.append(choice_of({"content": part["text"]}, index=index))
        if candidate.get("finishReason"):
            choices.append(self._end(index, candidate))
        return choices

    def _call(self, index: int, call: dict[str, Any]) -> dict[str, Any]:
        number = self._calls.get(index, 0)
        self._calls[index] = number + 1
        arguments = orjson.dumps(call.get("args") or {}).decode()
        return call_delta(number, arguments=arguments, call_id=call.get("id"), name=call["name"])

    def _end(self, index: int, candidate: dict[str, Any]) -> dict[str, Any]:
        told = candidate["finishReason"]
        reason = FINISH.get(told)
        if reason is None:
            raise unknown_answer(f"unknown finishReason {told!r:.40}", self.usage)
        if reason is FinishReason.ERROR:
            raise failed_answer(f"finishReason {told}", self.usage)
        if reason is FinishReason.STOP and self._calls.get(index):
            reason = FinishReason.TOOL_CALLS
        refusal: dict[str, Any] = {}
        if reason is FinishReason.CONTENT_FILTER:
            refusal = {"refusal": str(candidate.get("finishMessage") or told)}
        return choice_of(refusal, index=index, finish=reason)
