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
        self.child: ChildProcess | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        command = prepare(self.folder / "data", self.socket, sync=self._sync)
        self.child = start_child("redis", command, log=self.folder / "log")
        while not answers(self.socket):
            if not self.child.is_alive:
                raise RuntimeError(f"the server did not start:\n{self.child.log_tail()}")
            time.sleep(0.01)

    def kill(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
