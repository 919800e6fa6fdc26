"""A real answer of each wire, to be changed where a test wants it."""

from typing import Any


def openai_answer(text: str | None = "hi", finish: str = "stop", **usage: Any) -> dict[str, Any]:
    return {
        "id": "c-1",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
        ],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11, **usage},
    }


def anthropic_answer(
    text: str | None = "hi", finish: str = "end_turn", **usage: Any
) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "text", "text": text},
        ],
        "stop_reason": finish,
        "usage": {"input_tokens": 9, "output_tokens": 2, **usage},
    }


def gemini_answer(text: str | None = "hi", finish: str = "STOP", **usage: Any) -> dict[str, Any]:
    return {
        "candidates": [
            {
                "content": {"role": "model", "parts": [{"text": text}]},
                "finishReason": finish,
                "index": 0,
            }
        ],
        "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 2, **usage},
        "modelVersion": "m",
        "responseId": "r1",
    }


def cohere_answer(
    text: str | None = "hi", finish: str = "COMPLETE", **usage: Any
) -> dict[str, Any]:
    return {
        "id": "c1",
        "finish_reason": finish,
        "message": {"role": "assistant", "content": [{"type": "text", "text": text}]},
        "usage": {
            "billed_units": {"input_tokens": 9.0, "output_tokens": 2.0},
            "tokens": {"input_tokens": 70.0, "output_tokens": 3.0},
            **usage,
        },
    }
