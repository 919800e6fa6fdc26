"""The simulated provider: takes requests on every wire, answers by the scenario, keeps the bill."""

import asyncio
import secrets
import time
from itertools import count

import orjson
from aiohttp import web

from simulator import control
from simulator.bill import cost_nusd
from simulator.books import Books, World
from simulator.calls import CallRecord
from simulator.delivery import Delivery
from simulator.dialects import OPENAI, dialect_at
from simulator.exchange import Ask, Dialect, Json, Problem, Quota, Refused, key_label
from simulator.faults import problem_of
from simulator.json_answers import SchemaError
from simulator.prices import PriceTable
from simulator.replying import compose
from simulator.scenario import Scenario
from simulator.usage import Usage

_BAD_GATEWAY = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n</html>\r\n"


class SimulatedProvider:
    """One process's provider. `handle` is its whole surface."""

    def __init__(self, prices: PriceTable, scenario: Scenario, *, keep_prompts: bool) -> None:
        self._books = Books(prices, scenario)
        self._keep_prompts = keep_prompts
        self._prefix = secrets.token_hex(4)
        self._numbers = count(1)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one HTTP request."""
        path = request.path
        if path.startswith("/_simulator/") or path == "/health":
            return await control.answer(self._books, request)
        dialect = dialect_at(path)
        if dialect is not None and request.method == "POST":
            return await self._converse(request, dialect, await request.read())
        if request.method == "GET" and "/models" in path:
            return control.models(self._books, path)
        problem = Problem(404, "not_found", f"Invalid URL ({request.method} {path})")
        body = OPENAI.error(problem, "", self._next_id())
        return web.Response(status=404, body=body, content_type="application/json")

    async def _converse(
        self, request: web.BaseRequest, dialect: Dialect, body: bytes
    ) -> web.StreamResponse:
        world, call_id, path = self._books.world, self._next_id(), request.path
        record = CallRecord(call_id, time.time(), dialect.wire, "", "", path)
        record.traceparent = request.headers.get("traceparent")
        self._books.log.open(record)
        try:
            ask = dialect.parse(path, request.headers, request.query_string, _parsed(body))
        except Refused as refused:
            return self._refuse(dialect, record, refused.problem, None)
        self._note(record, ask)
        if world.scenario.require_key and not ask.key:
            return self._refuse(dialect, record, Problem(401, "unauthenticated"), None)
        admission = world.limits.admit(ask, asyncio.get_running_loop().time())
        if admission.problem is not None:
            return self._refuse(dialect, record, admission.problem, admission.quota)
        try:
            return await self._work(request, dialect, ask, world, record, admission.quota)
        finally:
            worked = record.cost_nusd or record.input_tokens
            admission.leave(record.input_tokens + record.output_tokens if worked else None)

    async def _work(
        self,
        request: web.BaseRequest,
        dialect: Dialect,
        ask: Ask,
        world: World,
        record: CallRecord,
        quota: Quota | None,
    ) -> web.StreamResponse:
        rule = world.plan.rule_for(ask)
        problem = problem_of(rule, ask.wire) if rule is not None else None
        if problem is not None:
            return self._refuse(dialect, record, problem, quota)
        options = world.scenario.usage
        try:
            reply = compose(ask, rule.fault if rule else None, options)
        except SchemaError as error:
            problem = Problem(400, "invalid_request", f"Invalid schema: {error}")
            return self._refuse(dialect, record, problem, quota)
        delivery = Delivery(
            request=request,
            dialect=dialect,
            ask=ask,
            reply=reply,
            rule=rule,
            call_id=record.id,
            headers=dialect.headers(record.id, quota),
            latency_s=world.latency_s(ask, rule),
            options=options,
            charge=lambda usage: self._charge(record, ask, usage),
        )
        response = await delivery.deliver()
        outcome = rule.fault if rule is not None and rule.fault != "none" else "answered"
        unanswered = outcome in ("hang", "cut_before")
        self._books.log.close(record, None if unanswered else response.status, outcome)
        return response

    def _charge(self, record: CallRecord, ask: Ask, usage: Usage) -> None:
        cost = cost_nusd(ask.wire, self._books.prices.price_of(ask.model, ask.path), usage)
        self._books.bill.charge(ask.model, record.key, cost, usage)
        record.cost_nusd = cost
        record.input_tokens = usage.total_input
        record.output_tokens = usage.total_output

    def _note(self, record: CallRecord, ask: Ask) -> None:
        record.model = ask.model
        record.key = key_label(ask.key)
        record.stream = ask.stream
        if self._keep_prompts:
            record.prompt = ask.prompt

    def _refuse(
        self, dialect: Dialect, record: CallRecord, problem: Problem, quota: Quota | None
    ) -> web.StreamResponse:
        self._books.log.close(record, problem.status, problem.kind)
        headers = dialect.headers(record.id, quota) | dict(problem.headers)
        if problem.kind == "bad_gateway":  # comes from a proxy that knows no vendor's format
            return web.Response(status=502, body=_BAD_GATEWAY, content_type="text/html")
        return web.Response(
            status=problem.status,
            body=dialect.error(problem, record.model, record.id),
            headers=headers,
            content_type="application/json",
        )

    def _next_id(self) -> str:
        return f"{self._prefix}{next(self._numbers):08x}"


def _parsed(body: bytes) -> Json:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        message = "We could not parse the JSON body of your request."
        raise Refused(Problem(400, "invalid_request", message)) from error
    if not isinstance(parsed, dict):
        raise Refused(Problem(400, "invalid_request", "The body must be a JSON object."))
    return parsed
