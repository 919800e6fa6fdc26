"""What endpoints take from a request: the process's context, the caller, the project acted in.

Nearly always all of it is known at once; what is not is asked for in a thread.
"""

from typing import Annotated, Final

from fastapi import Depends, Header, Query, Request
from fastapi.security import HTTPBearer
from starlette.concurrency import run_in_threadpool

from producer.accounts.access import Caller, Right
from producer.api.frame import RATE_HEADERS
from producer.arrival import Arrival
from producer.bootstrap import ProducerContext
from producer.options import MAX_KEY, text
from shared.db.repositories.projects import DEFAULT_PROJECT

_TRIES: Final = "x-stainless-retry-count"
# Only for the button in /docs: the header is read and judged by `Access`.
_BEARER = HTTPBearer(auto_error=False, description="An API key (pm_...) or the admin key.")


async def context_of(request: Request) -> ProducerContext:
    """The process's context."""
    context: ProducerContext = request.app.state.context
    return context


Context = Annotated[ProducerContext, Depends(context_of)]


async def _caller(
    request: Request, context: Context, _shown: Annotated[object, Depends(_BEARER)]
) -> Caller:
    authorization = request.headers.get("authorization")
    caller = context.access.caller_at_once(authorization)
    if caller is None:
        caller = await run_in_threadpool(context.access.caller, authorization)
    if caller.rate is not None:
        # Whatever the answer will be: `Frame` tells them with it.
        setattr(request.state, RATE_HEADERS, caller.rate.headers())
    return caller


def arrival_of(request: Request, context: ProducerContext, caller: Caller) -> Arrival:
    """How a request came: under which key, and whether it says that it is sent once more."""
    key = text(request.headers.get("idempotency-key"), "Idempotency-Key", MAX_KEY)
    again = counts_its_tries(request) and request.headers[_TRIES] != "0"
    return Arrival(key, caller.key_id, context.clock(), is_repetition=again)


def counts_its_tries(request: Request) -> bool:
    """Whether the client says how often it has sent this request before, as OpenAI's SDKs do."""
    return request.headers.get(_TRIES, "").isdecimal()


Asking = Annotated[Caller, Depends(_caller)]


class Acting:
    """A caller with a right, and where they act.

    project: the key's own, or the one named, or `default`. seen: the same, but None where the
    admin key named none, so that it finds things of every project by their ids.
    """

    def __init__(self, caller: Caller, project: str, seen: str | None) -> None:
        self.caller = caller
        self.project = project
        self.seen = seen


class _Acts:
    def __init__(self, right: Right) -> None:
        self._right = right

    async def __call__(
        self,
        context: Context,
        caller: Asking,
        project: Annotated[str | None, Query(description="For the admin key.")] = None,
        x_promptmill_project: Annotated[str | None, Header(include_in_schema=False)] = None,
    ) -> Acting:
        caller.require(self._right)
        named = (project, x_promptmill_project)
        if caller.is_admin and any(named):
            seen = await run_in_threadpool(context.access.named_project, caller, *named)
        else:
            seen = context.access.named_project(caller, *named)
        return Acting(caller, seen or DEFAULT_PROJECT, seen)


Reading = Annotated[Acting, Depends(_Acts(Right.READ))]
Submitting = Annotated[Acting, Depends(_Acts(Right.SUBMIT))]
Administering = Annotated[Acting, Depends(_Acts(Right.ADMIN))]
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key")]
"""Shown on the API's page; read by `arrival_of`."""
Limit = Annotated[int, Query(ge=1, le=100)]
After = Annotated[str | None, Query(description="The last id of the page before.")]
