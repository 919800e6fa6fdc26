"""Prompts asked from a page: a conversation like any other, on the interactive queue, read as its
answers come.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import orjson
from starlette.concurrency import run_in_threadpool

from producer.accounts.access import Right
from producer.api.chat_answers import compared
from producer.asked import Asked, read_comparison
from producer.chat import Conversation
from producer.console.desk import Desk
from shared.domain.job import line_of

_LOOK_S: Final = 0.15


async def answers(
    desk: Desk, body: Mapping[str, Any]
) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
    """What `models` of a body say, as POST /v1/compare tells it, with every answer that comes: only
    those that are there. Ends when all are, or when the time for an answer is over.

    Raises PromptmillError for what cannot be asked. Who stops reading calls off what has not begun.
    """
    asked = read_comparison(orjson.dumps(body), desk.context.catalog)
    conversation = await run_in_threadpool(_begun, desk, asked)
    conversations = desk.context.conversations
    until = time.monotonic() + desk.context.settings.answer_within_s
    told = 0
    try:
        while told < conversation.lines and time.monotonic() < until:
            rows = await run_in_threadpool(conversations.ended, conversation)
            if len(rows) > told:
                told = len(rows)
                yield _sides(asked, conversation, rows)
            else:
                await asyncio.sleep(_LOOK_S)
    finally:
        if told < conversation.lines:
            await run_in_threadpool(conversations.abandon, conversation)


def _begun(desk: Desk, asked: Asked) -> Conversation:
    acting = desk.acting(Right.SUBMIT)
    conversations = desk.context.conversations
    return conversations.begin(
        conversations.new_id(),
        asked,
        acting.project,
        desk.arrival(acting),
        acting.caller.allowance,
    )


def _sides(
    asked: Asked, conversation: Conversation, rows: Sequence[Any]
) -> Sequence[Mapping[str, Any]]:
    models = [asked.requests[line_of(row.job_id) - 1].model for row in rows]
    sides: list[dict[str, Any]] = compared(rows, models, conversation.id)["data"]
    return sides
