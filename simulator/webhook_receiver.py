"""`python -m simulator.webhook_receiver`: takes webhooks, verifies and keeps them, fails on order.

POST anything           200 where the signature is good, 401 where not; both are kept
GET /_receiver/events   {events: [{path, headers, body, verified, error, status, received_at}]}
DELETE /_receiver/events   forgets them
PUT /_receiver/behaviour   {status, times, delay_ms, retry_after_s}: answer so, `times` times
                           (without `times`: from now on); {} answers normally again
GET /health
"""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from simulator.fields import Fields, ScenarioError
from simulator.server import run


@dataclass(slots=True)
class Behaviour:
    """How deliveries are answered. status None: by their signature. times None: always."""

    status: int | None = None
    times: int | None = None
    delay_ms: float = 0.0
    retry_after_s: float | None = None

    @classmethod
    def read(cls, body: bytes) -> "Behaviour":
        """The behaviour of a JSON document. Raises ScenarioError or JSONDecodeError."""
        fields = Fields(orjson.loads(body), "")
        behaviour = cls(
            status=fields.whole("status", least=200),
            times=fields.whole("times"),
            delay_ms=fields.number("delay_ms") or 0.0,
            retry_after_s=fields.number("retry_after_s"),
        )
        fields.close()
        return behaviour


class Receiver:
    """Keeps what it was sent, and says of each whether its signature was good."""

    def __init__(self, secret: str) -> None:
        self._webhook = Webhook(secret)
        self._behaviour = Behaviour()
        self._events: list[dict[str, Any]] = []

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one HTTP request."""
        body = await request.read()
        match request.method, request.path:
            case "GET", "/health":
                return _json({"status": "ok"})
            case "GET", "/_receiver/events":
                return _json({"events": self._events})
            case "DELETE", "/_receiver/events":
                self._events.clear()
                return _json({"events": []})
            case "PUT", "/_receiver/behaviour":
                return self._behave(body)
            case "POST", _:
                return await self._receive(request, body)
            case method, path:
                return _json({"error": f"there is no {method} {path}"}, 404)

    def _behave(self, body: bytes) -> web.Response:
        try:
            self._behaviour = Behaviour.read(body)
        except (ScenarioError, orjson.JSONDecodeError) as error:
            return _json({"error": str(error)}, 400)
        return _json({"behaviour": self._behaviour})

    async def _receive(self, request: web.BaseRequest, body: bytes) -> web.Response:
        error = self._fault_of(body, dict(request.headers))
        behaviour = self._take_behaviour()
        status = behaviour.status or (200 if error is None else 401)
        self._events.append(
            {
                "path": request.path,
                "headers": {name.lower(): value for name, value in request.headers.items()},
                "body": body.decode("utf-8", "replace"),
                "verified": error is None,
                "error": error,
                "status": status,
                "received_at": time.time(),
            }
        )
        await asyncio.sleep(behaviour.delay_ms / 1000)
        response = _json({"received": error is None}, status)
        if behaviour.retry_after_s is not None:
            response.headers["retry-after"] = f"{behaviour.retry_after_s:g}"
        if 300 <= status < 400:
            response.headers["location"] = "/redirected"
        return response

    def _fault_of(self, body: bytes, headers: dict[str, str]) -> str | None:
        """Why a delivery does not verify; None where it does."""
        try:
            self._webhook.verify(body, headers)
        except (WebhookVerificationError, ValueError) as error:  # bad base64, JSON or encoding too
            return str(error) or type(error).__name__
        return None

    def _take_behaviour(self) -> Behaviour:
        behaviour = self._behaviour
        if behaviour.times is None:
            return behaviour
        if behaviour.times == 0:
            self._behaviour = Behaviour()
            return self._behaviour
        behaviour.times -= 1
        return behaviour


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(value), content_type="application/json")


def main(
    secret: Annotated[
        str, typer.Option(envvar="WEBHOOK_SECRET", help="whsec_...; better by the environment")
    ],
    port: Annotated[int, typer.Option(help="0 takes a free one")] = 0,
    host: str = "127.0.0.1",
    ready_file: Annotated[Path | None, typer.Option(help="gets the URL when ready")] = None,
) -> None:
    """Receive webhooks until SIGTERM or SIGINT."""
    try:
        run(Receiver(secret).handle, "webhook receiver", host, port, ready_file)
    except OSError as error:
        typer.echo(f"webhook receiver: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(main)
