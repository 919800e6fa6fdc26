"""The simulator's own endpoints: bill, calls, scenario, prices, reset, health, models.

GET /_simulator/bill       {total_nusd, calls, by_model: {name: {...}}, by_key: {label: {...}}}
GET /_simulator/calls      ?limit=100: {calls: newest first, total, by_outcome}
GET|PUT /_simulator/scenario   the scenario as JSON; PUT replaces it and forgets what it counted
PUT /_simulator/prices     {"models": {name: {input_usd_per_mtok: "0.20", ...}}}
POST /_simulator/reset     zeroes bill and calls, starts the scenario anew
GET /health                {"status": "ok"}
"""

from json import JSONDecodeError
from typing import Any, Final

import orjson
from aiohttp import web

from simulator.books import Books
from simulator.fields import ScenarioError
from simulator.prices import PriceTableError, parse_prices
from simulator.scenario import parse_scenario

_USUAL_CALLS = 100


async def answer(books: Books, request: web.BaseRequest) -> web.Response:
    """Answer a request to one of the simulator's own endpoints; a bad body gets 400."""
    path = request.path.removeprefix("/_simulator")
    verb = _VERBS.get((request.method, path))
    if verb is None:
        return _json({"error": f"there is no {request.method} {path}"}, 404)
    return verb(books, request, await request.read())


def models(books: Books, path: str) -> web.Response:
    """OpenAI's list of models, or one of them: those the price table names."""
    _, _, wanted = path.rpartition("/models")
    listed = [
        {"id": name, "object": "model", "created": 0, "owned_by": "simulator"}
        for name in books.prices.names
    ]
    if not wanted.strip("/"):
        return _json({"object": "list", "data": listed})
    for entry in listed:
        if entry["id"] == wanted[1:]:
            return _json(entry)
    error = {
        "message": f"The model '{wanted[1:]}' does not exist",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
    }
    return _json({"error": error}, 404)


def _health(_: Books, __: web.BaseRequest, ___: bytes) -> web.Response:
    return _json({"status": "ok"})


def _bill(books: Books, _: web.BaseRequest, __: bytes) -> web.Response:
    return _json(books.bill.as_json())


def _calls(books: Books, request: web.BaseRequest, _: bytes) -> web.Response:
    wanted = request.query.get("limit", "")
    return _json(books.log.as_json(int(wanted) if wanted.isdecimal() else _USUAL_CALLS))


def _get_scenario(books: Books, _: web.BaseRequest, __: bytes) -> web.Response:
    return _json(books.world.scenario.source)


def _put_scenario(books: Books, request: web.BaseRequest, body: bytes) -> web.Response:
    try:
        books.use(parse_scenario(body))
    except ScenarioError as error:
        return _json({"error": str(error)}, 400)
    return _get_scenario(books, request, body)


def _put_prices(books: Books, _: web.BaseRequest, body: bytes) -> web.Response:
    try:
        books.prices = parse_prices(body)
    except (PriceTableError, JSONDecodeError, UnicodeDecodeError) as error:
        return _json({"error": str(error)}, 400)
    return _json({"models": books.prices.names})


def _reset(books: Books, _: web.BaseRequest, __: bytes) -> web.Response:
    books.reset()
    return _json({"reset": True})


_VERBS: Final = {
    ("GET", "/health"): _health,
    ("GET", "/bill"): _bill,
    ("GET", "/calls"): _calls,
    ("GET", "/scenario"): _get_scenario,
    ("PUT", "/scenario"): _put_scenario,
    ("PUT", "/prices"): _put_prices,
    ("POST", "/reset"): _reset,
}


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(
        status=status, body=orjson.dumps(value, default=dict), content_type="application/json"
    )
