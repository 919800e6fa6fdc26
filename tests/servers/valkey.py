"""A Redis-compatible server on a unix socket in a short temporary folder."""

import shutil
import tempfile
import time
from pathlib import Path

from producer.local.embedded_redis import answers, prepare
from producer.local.processes import ChildProcess, start_child


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

    @property
    def pid(self) -> int:
        """Of the running server."""
        assert self._child is not None
        return self._child.pid

    def start(self) -> None:
        command = prepare(self.folder / "data", self.socket, sync=self._sync)
        self._child = start_child("redis", command, log=self.folder / "log")
        while not answers(self.socket):
            if not self._child.is_alive:
                raise RuntimeError(f"the server did not start:\n{self._child.log_tail()}")
            time.sleep(0.01)

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
