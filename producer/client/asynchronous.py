"""The asynchronous client of the HTTP API: verbs over `calls`, `answers` and one connection.

    async with AsyncPromptmill() as mill:
        batch = await mill.submit("prompts.jsonl", max_cost_usd="2.50")
        await mill.wait(batch.id)
        async for line in mill.results(batch.id):
            print(line["custom_id"], line["text"])

Amounts read are integers of nano-dollars (`*_nusd`), amounts given are dollars (`*_usd`: a decimal
string, or a number). Every call may raise ApiError or UnreachableError.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from types import TracebackType
from typing import Any, BinaryIO, Self, Unpack

from producer.client import asking, calls, uploads
from producer.client.address import find_address, find_key, read_settings
from producer.client.administration import Administration
from producer.client.answers import Batch, Json, batch_of, lines_of
from producer.client.asking import Answer, AskOptions, Prompt, StreamReading
from producer.client.calls import Call, SubmitOptions, Usd, path
from producer.client.connection import Connection
from producer.client.listing import Listing

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
HELD_PATIENCE_S = 3.0
"""How long everything must be held before that counts as stuck: a top-up releases jobs within a
second or two."""


class AsyncPromptmill(Administration):
    """A connection to one Promptmill; use it in an `async with`, or call `aclose`.

    base_url, api_key: by default PROMPTMILL_API_URL and _API_KEY, else those of the local home.
    project: the project to act in, for the admin key; other keys belong to one already.
    timeout_s: for each read and write, not for a whole upload or download.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: str | None = None,
        *,
        project: str | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        settings = read_settings()
        address = find_address(base_url, settings)
        key = find_key(api_key, address, settings)
        connection = Connection(address, key, project=project, timeout_s=timeout_s)
        super().__init__(connection, project)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Give the connection back."""
        await self._connection.aclose()

    @property
    def address(self) -> str:
        """The API's base URL."""
        return self._connection.address

    # -- batches ---------------------------------------------------------------------------

    async def submit(self, source: uploads.Source, **options: Unpack[SubmitOptions]) -> Batch:
        """Submit a file (streamed in constant memory) or lines; returns the batch as it starts.

        Sent again after a lost connection under the same idempotency key, so never run twice.
        With `strict`, a file with a bad line raises ApiError with those lines in `rejected`.
        """
        key = options.get("idempotency_key") or str(uuid.uuid4())
        call = calls.submit(options, key)
        async with _opened(source) as file:
            return batch_of(await self._connection.json(call, file))

    async def batch(self, batch_id: str) -> Batch:
        """A batch as it stands."""
        return batch_of(await self._json(calls.get(path("batches", batch_id))))

    def batches(self, limit: int | None = None) -> Listing[Batch]:
        """The project's batches, newest first, page by page; at most `limit`."""
        return self._things(path("batches"), batch_of, limit)

    async def wait(
        self,
        batch_id: str,
        on_progress: Callable[[Batch], None] | None = None,
        *,
        through_holds: bool = False,
    ) -> Batch:
        """Wait until a batch is over, or until nothing goes on without money; the last state.

        `through_holds`: wait on while everything is held. `on_progress` is called at every look.
        """
        async for batch in self.progress(batch_id, through_holds=through_holds):
            if on_progress is not None:
                on_progress(batch)
        return batch

    def progress(self, batch_id: str, *, through_holds: bool = False) -> Listing[Batch]:
        """The batch at every look, until it is over or (as in `wait`) nothing goes on."""

        async def looks() -> AsyncGenerator[Sequence[Batch]]:
            pause, stuck_since = _FIRST_PAUSE_S, None
            while True:
                batch = await self.batch(batch_id)
                now = time.monotonic()
                stuck_since = (stuck_since or now) if batch.is_stuck else None
                stuck = stuck_since is not None and now - stuck_since >= HELD_PATIENCE_S
                yield [batch]
                if batch.is_over or (stuck and not through_holds):
                    return
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE_S)

        return Listing(looks)

    def results(self, batch_id: str, page: int = 1000) -> Listing[Json]:
        """The result lines that are there, in input order, page by page."""
        where = path("batches", batch_id, "results")

        async def pages() -> AsyncGenerator[Sequence[Json]]:
            after = 0
            while True:
                call = calls.get(where, after=after, limit=page)
                async with self._connection.answer(call) as response:
                    lines = list(lines_of([await response.aread()]))
                yield lines
                if len(lines) < page:
                    return
                after = int(lines[-1]["line"])

        return Listing(pages)

    async def write_results(self, batch_id: str, target: BinaryIO, kind: str = "jsonl") -> int:
        """Write the results that are there as `jsonl`, `csv` or `openai`; returns the bytes."""
        call = calls.get(path("batches", batch_id, "results"), format=kind)
        written = 0
        async with self._connection.answer(call) as response:
            async for block in response.aiter_bytes():
                target.write(block)
                written += len(block)
        return written

    async def report(self, batch_id: str) -> Json:
        """What a batch cost, by model and task type, and what climbing brought."""
        return await self._json(calls.get(path("batches", batch_id, "report")))

    async def cancel(self, batch_id: str) -> Batch:
        """Stop a batch: nothing new starts, calls in flight are finished and charged."""
        return await self._batch(path("batches", batch_id, "cancel"), repeatable=True)

    async def retry(self, batch_id: str) -> Batch:
        """Run the failed jobs of a batch again; of a large one, some go back into the queue later
        (`Batch.retry_at_line`).
        """
        return await self._batch(path("batches", batch_id, "retry"))

    async def resume(self, batch_id: str, max_cost_usd: Usd | None = None) -> Batch:
        """Let the held jobs of a batch try again, under a new cap where one is given."""
        cap = None if max_cost_usd is None else str(max_cost_usd)
        where = path("batches", batch_id, "resume")
        return await self._batch(where, {"max_cost_usd": cap}, repeatable=True)

    # -- one prompt ------------------------------------------------------------------------

    async def route_and_execute(
        self,
        prompt: Prompt,
        preferences: Mapping[str, float] | None = None,
        constraints: Mapping[str, Any] | None = None,
        **options: Unpack[AskOptions],
    ) -> Answer:
        """Route one prompt and answer it now.

        preferences: weights of `cost`, `latency`, `quality`. constraints: `max_cost_usd`,
        `max_latency_s`, `allowed_models`, `min_tier`. Raises ApiError where there is no answer: 402
        and the code `budget_exceeded` where the budget does not carry it.
        """
        key = str(uuid.uuid4())
        call = asking.chat(prompt, preferences, constraints, options, key)
        return asking.answer_of(await self._json(call))

    def stream(
        self,
        prompt: Prompt,
        preferences: Mapping[str, float] | None = None,
        constraints: Mapping[str, Any] | None = None,
        **options: Unpack[AskOptions],
    ) -> Listing[str | Answer]:
        """The same, told piece by piece: texts, and at last the whole Answer. A streamed answer is
        routed, not escalated.
        """

        async def pieces() -> AsyncGenerator[Sequence[str | Answer]]:
            key = str(uuid.uuid4())
            call = asking.chat(prompt, preferences, constraints, options, key, stream=True)
            reading = StreamReading()
            async with self._connection.answer(call) as response:
                async for block in response.aiter_bytes():
                    for piece in reading.pieces(block):
                        yield [piece]
            reading.end()

        return Listing(pieces)

    # -- jobs, looking ahead -----------------------------------------------------------------

    async def job(self, job_id: str) -> Json:
        """A job's whole story: classification, route, attempts, verdicts, costs."""
        return await self._json(calls.get(path("jobs", job_id)))

    async def feedback(self, job_id: str, score: float) -> Json:
        """Say what a job's answer was worth, 0 (bad) to 1 (good); the last word counts."""
        call = calls.post(path("jobs", job_id, "feedback"), {"score": score}, repeatable=True)
        return await self._json(call)

    def job_ids(self, batch_id: str) -> Listing[str]:
        """The ids of a batch's jobs that have ended, in input order."""
        # OpenAI's form of the lines carries the job's number, the native one the input's line.
        call = calls.get(path("batches", batch_id, "results"), format="openai")

        async def pages() -> AsyncGenerator[Sequence[str]]:
            async with self._connection.answer(call) as response:
                async for text in response.aiter_lines():
                    if text:
                        (line,) = lines_of([text.encode()])
                        yield ["job_" + str(line["id"]).removeprefix("batch_req_")]

        return Listing(pages)

    async def route(self, line: Mapping[str, Any]) -> Json:
        """How an input line would be routed; nothing runs."""
        return await self._json(calls.post(path("route"), line, repeatable=True))

    async def plan(
        self, source: uploads.Source, max_cost_usd: Usd | None = None, optimise: str | None = None
    ) -> Json:
        """An estimate of a file: `cost_nusd {p50, p95, worst}`, `models`, `unpriced`, `seconds`;
        with a budget and `optimise="quality"` also how that would be spread (`allotment`).
        """
        headers = {"Content-Type": "application/x-ndjson"}
        call = Call("POST", path("plan"), calls.allotting(max_cost_usd, optimise), headers=headers)
        async with _opened(source) as file:
            return await self._connection.json(call, file)

    async def _batch(
        self, where: str, body: Mapping[str, Any] | None = None, *, repeatable: bool = False
    ) -> Batch:
        return batch_of(await self._json(calls.post(where, body, repeatable=repeatable)))


@asynccontextmanager
async def _opened(source: uploads.Source) -> AsyncIterator[BinaryIO]:
    """The source as a file; what must be made of a table or of lines first is made in a thread."""
    with ExitStack() as stack:
        yield await asyncio.to_thread(stack.enter_context, uploads.opened(source))
