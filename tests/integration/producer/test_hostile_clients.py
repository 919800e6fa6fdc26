"""Clients that are slow, endless or strange: the API answers the others and gives these up."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
import uvicorn
from fastapi.routing import APIRoute

from producer.api import frame
from producer.api.app import create_app
from producer.api.connections import BoundedConnection
from producer.bootstrap import ProducerContext
from tests.integration.producer.conftest import ADMIN_KEY

PATIENCE_S = 60
HEAD = f"POST /v1/projects HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_KEY}\r\n".encode()


class Hasty(BoundedConnection):
    """The real one, with less patience than tests have time for."""

    head_within_s = 0.3


@pytest.fixture
def port(context: ProducerContext) -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(context), log_config=None, http=Hasty)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(timeout=20)
    listener.close()


def connected(stack: ExitStack, port: int, sent: bytes = b"") -> socket.socket:
    client = stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_S))
    client.sendall(sent)
    return client


def rest_of(client: socket.socket) -> bytes:
    """What comes until the server closes the connection; fails where it never does."""
    got = b""
    try:
        while piece := client.recv(65_536):
            got += piece
    except ConnectionError:
        pass
    return got


def is_alive(port: int) -> bool:
    url = f"http://127.0.0.1:{port}/health/live"
    return httpx.get(url, trust_env=False, timeout=PATIENCE_S).status_code == 200


def test_clients_that_never_end_their_head_keep_nobody_out_and_are_closed(port: int):
    with ExitStack() as stack:
        silent = [connected(stack, port) for _ in range(60)]
        halves = [connected(stack, port, HEAD[:40]) for _ in range(60)]
        blanks = [connected(stack, port, b"\r\n") for _ in range(10)]
        assert is_alive(port)
        assert [rest_of(client) for client in (*silent, *halves, *blanks)] == [b""] * 130


def test_one_that_drips_its_next_head_is_closed_too(port: int):
    with ExitStack() as stack:
        client = connected(stack, port, b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(65_536).startswith(b"HTTP/1.1 200 OK")
        client.sendall(b"GET /hea")
        rest_of(client)


def test_a_head_without_end_is_refused(port: int):
    with ExitStack() as stack:
        client = connected(stack, port, HEAD)
        with pytest.raises(ConnectionError):
            client.sendall(b"X-More: " + b"x" * 100_000_000 + b"\r\n")
        assert is_alive(port)


def test_a_body_that_stops_coming_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(frame, "PIECE_WITHIN_S", 0.2)
    with ExitStack() as stack:
        half = HEAD + b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
        upload = half.replace(b"/v1/projects", b"/v1/plan")
        clients = [connected(stack, port, sent) for sent in [half, upload] * 20]
        assert is_alive(port)
        for client in clients:
            answer = rest_of(client)
            assert answer.startswith(b"HTTP/1.1 408 "), answer
            assert b'"code":"request_timeout"' in answer


HOSTILE = [
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"prompt":' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"name":NaN,"limit":Infinity}',
    b'{"name":1e999,"url":"\\ud83d","project":"\\u0000"}',
    b'{"prompt":"a\\u0000b","name":"\\u0000","model":"\\u0000"}',
    b'{"max_tokens":' + b"9" * 5_000 + b"}",
    b'{"messages":[{"role":"user","content":[[[[{}]]]]}],"model":{}}',
    b"\xff\xfe\x00",
    b"null",
    b'"x"',
    b"",
]


def test_no_strange_body_makes_any_path_fail(
    api: httpx.Client, context: ProducerContext, capfd: pytest.CaptureFixture[str]
):
    routes = [
        (method, re.sub(r"{[^}]*}", "x", route.path))
        for route in _routes(create_app(context))
        for method in sorted((route.methods or set()) & {"POST", "PUT", "PATCH"})
    ]
    assert len(routes) > 10
    failed = []
    headers = {"Content-Type": "application/json"}
    for method, path in routes:
        for body in HOSTILE:
            answer = api.request(method, path, content=body, headers=headers)
            if answer.status_code >= 500:
                failed.append((method, path, body[:60], answer.text))
    assert failed == []
    assert ADMIN_KEY not in "".join(capfd.readouterr())


def _routes(app: object) -> list[APIRoute]:
    found: list[APIRoute] = []
    for route in getattr(app, "routes", ()):
        if isinstance(route, APIRoute):
            found.append(route)
        else:
            found += _routes(getattr(route, "original_router", None))
    return found
