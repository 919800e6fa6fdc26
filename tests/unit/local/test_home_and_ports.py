import socket
import subprocess
import sys
from pathlib import Path

import pytest

from producer.local.home_lock import locked_home
from producer.local.ports import claim_port, is_taken
from shared.errors import ConflictError


def test_a_second_one_on_the_same_home_is_refused_naming_the_first(tmp_path: Path) -> None:
    script = f"""
from pathlib import Path
from producer.local.home_lock import locked_home
with locked_home(Path({str(tmp_path)!r})):
    print("held", flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ConflictError, match=f"process {holder.pid}"), locked_home(tmp_path):
            pass
        holder.kill()
        holder.wait()
        with locked_home(tmp_path):
            pass


def test_a_busy_port_is_named_with_the_option_that_changes_it() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert is_taken(port)
        with pytest.raises(ConflictError, match=f"port {port} .* --flower-port PORT"):
            claim_port(port, "--flower-port")
    assert claim_port(port, "--port") == port


def test_zero_asks_for_a_free_port() -> None:
    assert not is_taken(claim_port(0, "--port"))
