"""`promptmill` as a process of its own for each command, without the third of a second in which a
new interpreter only imports.

A server that has the command line imported forks for each command. The child takes on the folder,
environment, arguments and files of the caller, and calls the console entry as the installed script
does, to the end of its interpreter.
"""

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

_MODULE = "producer.cli.main"
_WARM = (_MODULE, "producer.client", "httpcore", "rich.progress", "rich.table")
"""What most commands import, some of it only when they run."""
_ROOT = Path(__file__).parents[2]


class WarmCommandLine:
    """Runs one command at a time."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.servers.warm_command_line"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=_ROOT,
            start_new_session=True,
        )

    def run(
        self,
        words: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        timeout_s: float,
        stdin: str = "",
    ) -> "subprocess.CompletedProcess[str]":
        """The command's exit code and what it wrote; raises subprocess.TimeoutExpired."""
        with tempfile.TemporaryDirectory(prefix="pmw-") as folder:
            files = {name: Path(folder) / name for name in ("stdin", "stdout", "stderr")}
            files["stdin"].write_text(stdin)
            told = {"words": list(words), "cwd": str(cwd), "env": dict(env)}
            code = self._ask(told | {name: str(path) for name, path in files.items()}, timeout_s)
            out, err = files["stdout"].read_text(), files["stderr"].read_text()
        return subprocess.CompletedProcess(["promptmill", *words], code, out, err)

    def _ask(self, told: Mapping[str, Any], timeout_s: float) -> int:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(told).encode() + b"\n")
        self._server.stdin.flush()
        if not select.select([self._server.stdout], [], [], timeout_s)[0]:
            self.close()
            raise subprocess.TimeoutExpired(told["words"], timeout_s)
        return int(self._server.stdout.readline())

    def close(self) -> None:
        """End it, and a command that still runs."""
        os.killpg(self._server.pid, 9)
        self._server.communicate()


def _serve() -> dict[str, Any]:
    """In the server, for ever; in a child, what it is to run. The server ends with its input."""
    while line := sys.stdin.readline():
        child = os.fork()
        if child == 0:
            return dict(json.loads(line))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    sys.exit()


def _become(told: Mapping[str, Any]) -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        flags = os.O_RDONLY if name == "stdin" else os.O_WRONLY | os.O_CREAT
        os.dup2(os.open(told[name], flags, 0o600), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as an interpreter has it
    os.chdir(told["cwd"])
    os.environ.clear()
    os.environ.update(told["env"])
    sys.path[0] = told["cwd"]
    sys.argv = ["promptmill", *told["words"]]


if __name__ == "__main__":
    for _name in _WARM:
        import_module(_name)
    _become(_serve())
    sys.modules[_MODULE].run()
