"""Chat completions, as OpenAI's clients ask for them, and comparisons of several models."""

from contextlib import AsyncExitStack
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from producer.api.answers import JsonResponse
from producer.api.asking import (
    Acting,
    Context,
    IdempotencyKey,
    Submitting,
    arrival_of,
    counts_its_tries,
)
from producer.api.awaiting import Left, Over, Relay, TooLate, Wait
from producer.api.chat_answers import TIMED_OUT, Chunks, Refused, compared, completion, refused
from producer.api.openapi import passed_on
from producer.api.shapes.bodies import CHAT, COMPARISON, EMBEDDINGS, body_of
from producer.api.shapes.chat import ComparisonShape, CompletionShape, EmbeddingsShape
from producer.arrival import Arrival
from producer.asked import Asked, read_chat, read_comparison, read_embeddings
from producer.bootstrap import ProducerContext
from producer.chat import Conversation
from shared.clock import unix_seconds
from shared.domain.job import JobStatus, job_id_of, public_job_id

router = APIRouter(tags=["chat"])

_CLOSED_REQUEST: Final = 499
_STREAM: Final[dict[str, Any]] = {
    "content": {
        "text/event-stream": {
            "schema": {"type": "string", "description": "`data: <chunk>` events, then [DONE]."},
            "example": 'data: {"object": "chat.completion.chunk", ...}\n\ndata: [DONE]\n\n',
        }
    }
}


@router.post(
    "/v1/chat/completions",
    response_model=CompletionShape,
    responses={200: _STREAM, **passed_on()},
    openapi_extra=body_of({"application/json": CHAT}),
)
async def create_chat_completion(
    request: Request,
    context: Context,
    acting: Submitting,
    _idempotency_key: IdempotencyKey = None,
) -> Response:
    """Answer a conversation now: whole, or as a stream of chunks with `stream: true`.

    A job on the interactive queue like any other: routed by `model` (auto, a tier, a name), within
    the budget, with its cost in the answer's `promptmill` object. A streamed answer is routed, not
    escalated.
    """
    asked = read_chat(await request.body(), context.catalog)
    async with AsyncExitStack() as stack:
        wait, conversation = await _begin(request, context, acting, asked, stack)
        first = await (wait.next() if asked.streams else wait.the_end())
        if isinstance(first, Left | TooLate):
            return _nothing(first)
        if isinstance(first, Over) and first.rows[0].status != JobStatus.COMPLETED:
            return _error(refused(first.rows[0]))
        job_id = public_job_id(job_id_of(conversation.number, 1))
        headers = {"x-promptmill-job": job_id}
        if not asked.streams and isinstance(first, Over):
            return JsonResponse(completion(first.rows[0]), headers=headers)
        chunks = Chunks(
            f"chatcmpl-{job_id.removeprefix('job_')}",
            unix_seconds(context.clock()) or 0,
            include_usage=asked.include_usage,
        )
        return Relay(wait, first, chunks, stack.pop_all(), headers)


@router.post(
    "/v1/embeddings",
    response_model=EmbeddingsShape,
    responses=passed_on(),
    openapi_extra=body_of({"application/json": EMBEDDINGS}),
)
async def create_embeddings(
    request: Request,
    context: Context,
    acting: Submitting,
    _idempotency_key: IdempotencyKey = None,
) -> Response:
    """Make the vectors of texts, in the order of the inputs.

    A job on the interactive queue. `model` names one, or lets one be chosen (`auto` takes the
    cheapest each time); nothing stands in for it, for vectors of two models cannot be compared.
    """
    asked = read_embeddings(await request.body(), context.catalog)
    async with AsyncExitStack() as stack:
        wait, conversation = await _begin(request, context, acting, asked, stack)
        end = await wait.the_end()
        if isinstance(end, Left | TooLate):
            return _nothing(end)
        if end.rows[0].status != JobStatus.COMPLETED:
            return _error(refused(end.rows[0]))
        job_id = public_job_id(job_id_of(conversation.number, 1))
        return JsonResponse(completion(end.rows[0]), headers={"x-promptmill-job": job_id})


@router.post(
    "/v1/compare",
    response_model=ComparisonShape,
    responses=passed_on(),
    openapi_extra=body_of({"application/json": COMPARISON}),
)
async def compare(
    request: Request,
    context: Context,
    acting: Submitting,
    _idempotency_key: IdempotencyKey = None,
) -> Response:
    """Ask several models the same at once: their answers side by side, each with its cost."""
    asked = read_comparison(await request.body(), context.catalog)
    async with AsyncExitStack() as stack:
        wait, conversation = await _begin(request, context, acting, asked, stack)
        end = await wait.the_end()
        if isinstance(end, Left | TooLate):
            return _nothing(end)
        models = [each.model for each in asked.requests]
        return JsonResponse(compared(end.rows, models, conversation.id))


async def _begin(
    request: Request,
    context: ProducerContext,
    acting: Acting,
    asked: Asked,
    stack: AsyncExitStack,
) -> tuple[Wait, Conversation]:
    """Listen first, then write and publish, so that nothing is missed."""
    arrival = arrival_of(request, context, acting.caller)
    wanted = context.conversations.new_id()
    ear = request.app.state.ear
    attention = await stack.enter_async_context(ear.attention(wanted))
    # Without Redis no worker takes anything up, and whoever waits would wait in vain.
    has_redis = not attention.is_deaf or await ear.is_answered()
    conversation = await run_in_threadpool(
        _written, context, acting, asked, wanted, arrival, has_redis
    )
    is_older = conversation.id != wanted  # begun before, under the same key or by the same request
    if is_older:
        attention = await stack.enter_async_context(ear.attention(conversation.id))
    patience_s = context.settings.answer_within_s
    wait = Wait(
        request,
        context.conversations,
        conversation,
        attention,
        patience_s,
        may_be_over=is_older,
        may_come_again=arrival.key is not None or counts_its_tries(request),
    )
    stack.push_async_callback(wait.close)
    return wait, conversation


def _written(
    context: ProducerContext,
    acting: Acting,
    asked: Asked,
    wanted: str,
    arrival: Arrival,
    has_redis: bool,
) -> Conversation:
    project = acting.project
    if asked.project is not None:
        project = context.access.project(acting.caller, acting.seen, asked.project)
    conversations = context.conversations
    if not has_redis:
        return conversations.begun_before(asked, project, arrival)
    return conversations.begin(wanted, asked, project, arrival, acting.caller.allowance)


def _nothing(why: Left | TooLate) -> Response:
    if isinstance(why, Left):
        return Response(status_code=_CLOSED_REQUEST)  # nobody is left to read it
    return _error(TIMED_OUT)


def _error(why: Refused) -> Response:
    return JsonResponse({"error": why.error(), **why.more}, why.status, headers=dict(why.headers))
