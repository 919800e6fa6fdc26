"""A Redis-compatible server on a unix socket in a short temporary folder."""

import shutil
import tempfile
from pathlib import Path

from producer.local.embedded_redis import start_embedded_redis, wait_until_ready
from producer.local.processes import ChildProcess


class ValkeyServer:
    """One server; `kill` and `start` again keep its data."""

    def __init__(self, *, sync: str = "no") -> None:
        # A socket's path may have about a hundred characters; pytest's folders are too deep.
        self.folder = Path(tempfile.mkdtemp(prefix="pmr-"))
        self.socket = self.folder / "s"
        self._sync = sync
        self._child: ChildProcess | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        self._child = start_embedded_redis(
            self.folder / "data", self.socket, self.folder / "log", sync=self._sync
        )
        wait_until_ready(self._child, self.socket)

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
