"""One `up` a home: a lock that the kernel gives back however its holder ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import ConflictError


@contextmanager
def locked_home(home: Path) -> Iterator[None]:
    """Hold the home folder, which is made where it is missing.

    Raises ConflictError naming the process that holds it already.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "up.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "another one"
            raise ConflictError(
                f"Promptmill is up in {home} already (process {holder}): stop it, or use another "
                "--home"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
