"""Child processes that cannot outlive their parent, however that dies.

On Linux the kernel kills the child when the *thread* that started it ends: children are started
from the main thread only. Elsewhere a small wrapper (`producer.local.tether`) holds a pipe whose
other end closes with the parent. Each child leads a process group of its own, so Ctrl-C on the
terminal reaches the supervisor alone, which then stops its children in order.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_KEPT_LOGS = 3
_LOG_TAIL_BYTES = 8192


@dataclass(slots=True)
class ChildProcess:
    """One started program. `log` holds both of its outputs, or is None where they are ours."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path | None = None
    _lifeline: int | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        """The child's process id, which is also its group's."""
        return self.process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative where a signal ended it."""
        return self.process.poll()

    def log_tail(self, lines: int = 15) -> str:
        """The last lines it wrote, to be shown when it failed."""
        return "" if self.log is None else tail(self.log, lines)

    def ask_to_stop(self) -> None:
        """Send SIGTERM to the child alone: it ends its own children in its own order."""
        if self.is_alive:
            self.process.terminate()

    def wait(self, timeout_s: float) -> bool:
        """Wait for its end; False when the time was over first."""
        try:
            self.process.wait(timeout=max(0.0, timeout_s))
        except subprocess.TimeoutExpired:
            return False
        self._let_go()
        return True

    def kill(self) -> None:
        """End it and everything in its process group at once."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self.process.kill()
        self.process.wait()
        self._let_go()

    def stop(self, timeout_s: float) -> bool:
        """Ask, wait, and kill what did not listen; True when it ended by itself."""
        self.ask_to_stop()
        if self.wait(timeout_s):
            return True
        self.kill()
        return False

    def _let_go(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None


def start_child(
    name: str,
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    cwd: Path | None = None,
    user: int | None = None,
    tether: bool | None = None,
) -> ChildProcess:
    """Start a program that dies with us, its output in `log` (earlier logs are kept as .1 to .3).

    `env` replaces the environment; `user` is a user and group id to run as (needs root); `tether`
    forces or forbids the wrapper, by default used where the kernel does not offer the signal.
    Raises OSError when the program cannot be started, RuntimeError off the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("children are started by the main thread: they die with their thread")
    use_tether = not sys.platform.startswith("linux") if tether is None else tether
    lifeline = os.pipe() if use_tether else None
    output = _open_log(log)
    try:
        process = subprocess.Popen(  # noqa: S603 - the programs are our own
            _tethered(command, lifeline) if lifeline else list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=None if env is None else dict(env),
            cwd=cwd,
            process_group=0,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            pass_fds=(lifeline[0],) if lifeline else (),
            preexec_fn=None if lifeline else _die_with(os.getpid()),  # noqa: PLW1509
        )
    finally:
        if output is not None:
            os.close(output)
        if lifeline:
            os.close(lifeline[0])
    return ChildProcess(name, process, log, lifeline[1] if lifeline else None)


def rotate(log: Path) -> None:
    """Move `x.log` to `x.log.1`, `.1` to `.2` and so on; the oldest is dropped."""
    for number in range(_KEPT_LOGS - 1, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number + 1}"))
    if log.exists():
        log.replace(log.with_name(f"{log.name}.1"))


def tail(log: Path, lines: int) -> str:
    """The last lines of a text file, read from its end; empty when there is no file."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _LOG_TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _open_log(log: Path | None) -> int | None:
    if log is None:
        return None
    log.parent.mkdir(parents=True, exist_ok=True)
    rotate(log)
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _tethered(command: Sequence[str], lifeline: tuple[int, int]) -> list[str]:
    return [sys.executable, "-m", "producer.local.tether", str(lifeline[0]), *command]


def _die_with(parent: int) -> Callable[[], None]:
    # Looked up before the fork: between fork and exec only system calls are safe.
    prctl = ctypes.CDLL(None).prctl

    def in_the_child() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the signal was asked for
            os._exit(1)

    return in_the_child
