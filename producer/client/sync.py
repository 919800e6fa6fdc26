"""The synchronous client: each verb of `AsyncPromptmill`, waited for.

    with Promptmill() as mill:
        batch = mill.submit("prompts.jsonl", max_cost_usd="2.50")
        mill.wait(batch.id)
        for line in mill.results(batch.id):
            print(line["custom_id"], line["text"])

The verbs run in an event loop of the client's own, in a thread of its own, so it can be used by
several threads, and also where another loop is running.
"""

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from producer.client.answers import Batch
from producer.client.asynchronous import AsyncPromptmill
from producer.client.listing import Listing

P = ParamSpec("P")
ValueT = TypeVar("ValueT")


class _Loop:
    """An event loop in a daemon thread, started with the first thing to run."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def run(self, work: Coroutine[Any, Any, ValueT]) -> ValueT:
        with self._starting:
            if self._loop.is_closed():
                work.close()
                raise RuntimeError("the client is closed")
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="promptmill-client", daemon=True
                )
                self._thread.start()
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # an interrupt of the one who waits; otherwise it is over anyway
            raise

    def close(self) -> None:
        with self._starting:
            if self._thread is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)
                self._thread.join()
                self._thread = None
            self._loop.close()


def _verb(
    core: Callable[Concatenate[AsyncPromptmill, P], Coroutine[Any, Any, ValueT]],
) -> Callable[Concatenate["Promptmill", P], ValueT]:
    @functools.wraps(core)
    def wait_for(mill: "Promptmill", /, *args: P.args, **kwargs: P.kwargs) -> ValueT:
        return mill._loop.run(core(mill._core, *args, **kwargs))  # noqa: SLF001 - its own edge

    return wait_for


def _listing(
    core: Callable[Concatenate[AsyncPromptmill, P], Listing[ValueT]],
) -> Callable[Concatenate["Promptmill", P], Iterator[ValueT]]:
    @functools.wraps(core)
    def read(mill: "Promptmill", /, *args: P.args, **kwargs: P.kwargs) -> Iterator[ValueT]:
        loop = mill._loop  # noqa: SLF001 - its own edge
        pages = core(mill._core, *args, **kwargs).pages()  # noqa: SLF001 - its own edge

        async def next_page() -> Any:
            return await anext(pages, None)

        try:
            while (page := loop.run(next_page())) is not None:
                yield from page
        finally:
            with suppress(RuntimeError):  # the client was closed before whoever read had enough
                loop.run(pages.aclose())

    return read


class Promptmill:
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
        self._core = AsyncPromptmill(base_url, api_key, project=project, timeout_s=timeout_s)
        self._loop = _Loop()

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
        self._loop.run(self._core.aclose())
        self._loop.close()

    @property
    def address(self) -> str:
        """The API's base URL."""
        return self._core.address

    def wait(
        self,
        batch_id: str,
        on_progress: Callable[[Batch], None] | None = None,
        *,
        through_holds: bool = False,
    ) -> Batch:
        """As `AsyncPromptmill.wait`; `on_progress` is called in the thread that waits."""
        for batch in self.progress(batch_id, through_holds=through_holds):
            if on_progress is not None:
                on_progress(batch)
        return batch

    submit = _verb(AsyncPromptmill.submit)
    batch = _verb(AsyncPromptmill.batch)
    batches = _listing(AsyncPromptmill.batches)
    progress = _listing(AsyncPromptmill.progress)
    results = _listing(AsyncPromptmill.results)
    write_results = _verb(AsyncPromptmill.write_results)
    report = _verb(AsyncPromptmill.report)
    cancel = _verb(AsyncPromptmill.cancel)
    retry = _verb(AsyncPromptmill.retry)
    resume = _verb(AsyncPromptmill.resume)
    route_and_execute = _verb(AsyncPromptmill.route_and_execute)
    stream = _listing(AsyncPromptmill.stream)
    job = _verb(AsyncPromptmill.job)
    feedback = _verb(AsyncPromptmill.feedback)
    job_ids = _listing(AsyncPromptmill.job_ids)
    route = _verb(AsyncPromptmill.route)
    plan = _verb(AsyncPromptmill.plan)

    overview = _verb(AsyncPromptmill.overview)
    usage = _verb(AsyncPromptmill.usage)
    savings = _verb(AsyncPromptmill.savings)
    hints = _verb(AsyncPromptmill.hints)
    requests = _listing(AsyncPromptmill.requests)
    budget = _verb(AsyncPromptmill.budget)
    set_budget = _verb(AsyncPromptmill.set_budget)
    cache = _verb(AsyncPromptmill.cache)
    set_cache = _verb(AsyncPromptmill.set_cache)
    routing = _verb(AsyncPromptmill.routing)
    set_routing = _verb(AsyncPromptmill.set_routing)
    begin_trial = _verb(AsyncPromptmill.begin_trial)
    trial = _verb(AsyncPromptmill.trial)
    end_trial = _verb(AsyncPromptmill.end_trial)
    outcomes = _verb(AsyncPromptmill.outcomes)
    forget_outcomes = _verb(AsyncPromptmill.forget_outcomes)
    projects = _listing(AsyncPromptmill.projects)
    create_project = _verb(AsyncPromptmill.create_project)
    api_keys = _listing(AsyncPromptmill.api_keys)
    create_key = _verb(AsyncPromptmill.create_key)
    limit_key = _verb(AsyncPromptmill.limit_key)
    revoke_key = _verb(AsyncPromptmill.revoke_key)
    models = _listing(AsyncPromptmill.models)
    providers = _listing(AsyncPromptmill.providers)
    templates = _listing(AsyncPromptmill.templates)
    template = _verb(AsyncPromptmill.template)
    template_versions = _listing(AsyncPromptmill.template_versions)
    create_template = _verb(AsyncPromptmill.create_template)
    delete_template = _verb(AsyncPromptmill.delete_template)
    webhooks = _listing(AsyncPromptmill.webhooks)
    create_webhook = _verb(AsyncPromptmill.create_webhook)
    delete_webhook = _verb(AsyncPromptmill.delete_webhook)
    test_webhook = _verb(AsyncPromptmill.test_webhook)
    deliveries = _listing(AsyncPromptmill.deliveries)
    redeliver = _verb(AsyncPromptmill.redeliver)
