"""The synchronous client of the HTTP API: thin verbs over `calls`, `answers` and one connection.

    with Promptmill() as mill:
        batch = mill.submit("prompts.jsonl", max_cost_usd="2.50")
        mill.wait(batch.id)
        for line in mill.results(batch.id):
            print(line["custom_id"], line["text"])

Amounts read are integers of nano-dollars (`*_nusd`), amounts given are dollars (`*_usd`: a decimal
string, or a number). Every call may raise ApiError or UnreachableError.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, BinaryIO, Self, Unpack

from producer.client import calls, uploads
from producer.client.address import find_address, find_key, read_settings
from producer.client.administration import Administration
from producer.client.answers import ApiError, Batch, HeldError, Json, batch_of, lines_of
from producer.client.calls import Call, SubmitOptions, Usd, path
from producer.client.connection import Connection

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 1.0
HELD_PATIENCE_S = 3.0
"""How long everything must be held before that counts as stuck: a top-up releases jobs within a
second or two."""


class Promptmill(Administration):
    """A connection to one Promptmill; use it in a `with`, or call `close`.

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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    @property
    def address(self) -> str:
        """The API's base URL."""
        return self._connection.address

    # -- batches ---------------------------------------------------------------------------

    def submit(self, source: uploads.Source, **options: Unpack[SubmitOptions]) -> Batch:
        """Submit a file (streamed in constant memory) or lines; returns the batch as it starts.

        Sent again after a lost connection under the same idempotency key, so never run twice.
        With `strict`, a file with a bad line raises ApiError with those lines in `rejected`.
        """
        key = options.get("idempotency_key") or str(uuid.uuid4())
        call = calls.submit(options, key)
        with uploads.opened(source) as file:
            return batch_of(self._connection.json(call, file))

    def batch(self, batch_id: str) -> Batch:
        """A batch as it stands."""
        return batch_of(self._json(calls.get(path("batches", batch_id))))

    def batches(self, limit: int | None = None) -> Iterator[Batch]:
        """The project's batches, newest first, page by page; at most `limit`."""
        for raw in self._listed(path("batches"), limit):
            yield batch_of(raw)

    def wait(
        self,
        batch_id: str,
        on_progress: Callable[[Batch], None] | None = None,
        *,
        through_holds: bool = False,
    ) -> Batch:
        """Wait until a batch is over, or until nothing goes on without money; the last state.

        `through_holds`: wait on while everything is held. `on_progress` is called at every look.
        """
        pause, stuck_since = _FIRST_PAUSE_S, None
        while True:
            batch = self.batch(batch_id)
            if on_progress is not None:
                on_progress(batch)
            now = time.monotonic()
            stuck_since = (stuck_since or now) if batch.is_stuck else None
            stuck = stuck_since is not None and now - stuck_since >= HELD_PATIENCE_S
            if batch.is_over or (stuck and not through_holds):
                return batch
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)

    def results(self, batch_id: str, page: int = 1000) -> Iterator[Json]:
        """The result lines that are there, in input order, page by page."""
        yield from self._pages(path("batches", batch_id, "results"), page)

    def write_results(self, batch_id: str, target: BinaryIO, kind: str = "jsonl") -> int:
        """Write the results that are there as `jsonl`, `csv` or `openai`; returns the bytes."""
        call = calls.get(path("batches", batch_id, "results"), format=kind)
        written = 0
        with self._connection.answer(call) as response:
            for block in response.iter_bytes():
                target.write(block)
                written += len(block)
        return written

    def report(self, batch_id: str) -> Json:
        """What a batch cost, by model and task type, and what climbing brought."""
        return self._json(calls.get(path("batches", batch_id, "report")))

    def cancel(self, batch_id: str) -> Batch:
        """Stop a batch: nothing new starts, calls in flight are finished and charged."""
        return self._batch(path("batches", batch_id, "cancel"), repeatable=True)

    def retry(self, batch_id: str) -> Batch:
        """Run the failed jobs of a batch again."""
        return self._batch(path("batches", batch_id, "retry"))

    def resume(self, batch_id: str, max_cost_usd: Usd | None = None) -> Batch:
        """Let the held jobs of a batch try again, under a new cap where one is given."""
        cap = None if max_cost_usd is None else str(max_cost_usd)
        return self._batch(
            path("batches", batch_id, "resume"), {"max_cost_usd": cap}, repeatable=True
        )

    def ask(
        self,
        prompt: str,
        *,
        fields: Mapping[str, Any] | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Json:
        """One prompt, answered now; its result line, also where its `status` is failed.

        `fields`: further fields of the input line (`model`, `max_tokens`, ...). Raises HeldError
        when the budget does not carry it; the job is called off then.
        """
        batch = self.ask_as_batch(prompt, fields=fields, **options)
        found = next(self.results(batch.id), None)
        if found is None:
            raise ApiError(200, f"batch {batch.id} ended as {batch.status} without a result")
        return found

    def ask_as_batch(
        self,
        prompt: str,
        *,
        fields: Mapping[str, Any] | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Batch:
        """As `ask`, but the ended batch: of one job, on the interactive queue."""
        asked: SubmitOptions = {"priority": "interactive", "strict": True}
        asked.update(options)
        batch = self.wait(self.submit([{"prompt": prompt, **(fields or {})}], **asked).id)
        if not batch.is_over:
            self.cancel(batch.id)
            raise HeldError(
                "the budget does not carry this prompt now: raise it with `promptmill budget set`"
            )
        return batch

    # -- jobs, looking ahead -----------------------------------------------------------------

    def job(self, job_id: str) -> Json:
        """A job's whole story: classification, route, attempts, verdicts, costs."""
        return self._json(calls.get(path("jobs", job_id)))

    def job_ids(self, batch_id: str) -> Iterator[str]:
        """The ids of a batch's jobs that have ended, in input order."""
        # OpenAI's form of the lines carries the job's number, the native one the input's line.
        call = calls.get(path("batches", batch_id, "results"), format="openai")
        with self._connection.answer(call) as response:
            for line in lines_of(response.iter_bytes()):
                yield "job_" + str(line["id"]).removeprefix("batch_req_")

    def route(self, line: Mapping[str, Any]) -> Json:
        """How an input line would be routed; nothing runs."""
        return self._json(calls.post(path("route"), line, repeatable=True))

    def plan(self, source: uploads.Source) -> Json:
        """An estimate of a file: `cost_nusd {p50, p95, worst}`, `models`, `unpriced`, `seconds`."""
        call = Call("POST", path("plan"), headers={"Content-Type": "application/x-ndjson"})
        with uploads.opened(source) as file:
            return self._connection.json(call, file)

    # -- the edge ----------------------------------------------------------------------------

    def _batch(
        self, where: str, body: Mapping[str, Any] | None = None, *, repeatable: bool = False
    ) -> Batch:
        return batch_of(self._json(calls.post(where, body, repeatable=repeatable)))

    def _pages(self, where: str, size: int) -> Iterator[Json]:
        """The lines of a JSONL resource, following `after`, the last line seen."""
        after = 0
        while True:
            seen = 0
            with self._connection.answer(calls.get(where, after=after, limit=size)) as response:
                for line in lines_of(response.iter_bytes()):
                    after, seen = int(line["line"]), seen + 1
                    yield line
            if seen < size:
                return
