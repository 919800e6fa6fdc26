"""A wrapper that ends its program when a pipe closes: `python -m producer.local.tether FD CMD…`.

For systems where the kernel cannot tell a child of its parent's death. The parent holds the
pipe's other end; whatever way it dies, the pipe closes and the whole process group is killed.
"""

import os
import signal
import subprocess
import sys
import threading


def main(arguments: list[str]) -> int:
    """Run the program, pass SIGTERM and SIGINT on to it, and end with its exit code."""
    lifeline = int(arguments[0])
    program = subprocess.Popen(arguments[1:], close_fds=True)  # noqa: S603 - given by the parent
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: program.send_signal(received))
    threading.Thread(target=_kill_when_closed, args=(lifeline,), daemon=True).start()
    code = program.wait()
    return 128 - code if code < 0 else code


def _kill_when_closed(lifeline: int) -> None:
    while os.read(lifeline, 1):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
