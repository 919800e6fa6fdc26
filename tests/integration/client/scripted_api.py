"""A small real HTTP server whose answers are written beforehand, one after another, for each path:
for what the real API does not do when asked (breaking off, being busy, an odd proxy).
"""

import json
import threading
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

BREAK_OFF = "break off"
KEPT_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    body: bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


def batch(status: str = "in_progress", **counts: int) -> dict[str, Any]:
    names = ("queued", "running", "held", "completed", "failed", "cancelled", "expired")
    full = {name: counts.get(name, 0) for name in names}
    return {
        "id": "batch_1",
        "object": "batch",
        "status": status,
        "created_at": 1_790_000_000,
        "errors": None,
        "promptmill": {
            "counts": {"total": sum(full.values()), **full},
            "cost_nusd": 1_500_000,
            "cost_usd": "0.0015",
        },
    }


class ScriptedApi:
    """Answers of a path are given in order; the last one stays."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._script: dict[tuple[str, str], list[Answer | str]] = defaultdict(list)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def on(self, method: str, path: str, *answers: Answer | str | object) -> None:
        for answer in answers:
            is_script = isinstance(answer, Answer) or answer == BREAK_OFF
            said: Any = answer if is_script else Answer(json.dumps(answer).encode())
            self._script[method, path].append(said)

    def error(self, status: int, code: str, message: str, **headers: str) -> Answer:
        body = {"error": {"message": message, "type": "x", "param": None, "code": code}}
        dashed = {name.replace("_", "-"): value for name, value in headers.items()}
        return Answer(json.dumps(body).encode(), status, {"x-request-id": "req_1", **dashed})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _next(self, method: str, path: str) -> Answer | str:
        script = self._script[method, path]
        if not script:
            return self.error(404, "not_found", f"nothing is written for {method} {path}")
        return script.pop(0) if len(script) > 1 else script[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

            def answer(self) -> None:
                parts = urlsplit(self.path)
                api.asked.append(
                    Asked(
                        self.command,
                        parts.path,
                        dict(parse_qsl(parts.query)),
                        {name.lower(): value for name, value in self.headers.items()},
                        self._body(),
                    )
                )
                said = api._next(self.command, parts.path)
                if isinstance(said, str):
                    self.close_connection = True
                    return
                self.send_response(said.status)
                for name, value in said.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(said.body)))
                self.end_headers()
                self.wfile.write(said.body)

            def _body(self) -> bytes:
                """The body's first megabyte; the rest is read and forgotten."""
                left, kept = int(self.headers.get("content-length", 0)), b""
                while left:
                    block = self.rfile.read(min(left, 64 * 1024))
                    if not block:
                        break
                    left -= len(block)
                    kept += block if len(kept) < KEPT_BYTES else b""
                return kept

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815

        return Handler
