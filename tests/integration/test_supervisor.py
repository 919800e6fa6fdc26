"""The supervisor, with small programs of the tests' own."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from producer.local.services import Service
from producer.local.supervisor import Stopped, Supervisor
from shared.errors import UnavailableError

PATIENCE_S = 30


def program(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", textwrap.dedent(text))


FOREVER = program("import time; time.sleep(300)")
STUBBORN = program("""
    import signal, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print('up', flush=True)
    time.sleep(300)
""")


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, said: list[str]) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "logs", dict(os.environ), said.append)
    yield made
    made.stop((), 0.2)


def test_services_are_reported_when_they_are_ready(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    flag = tmp_path / "ready"
    touch = program(f"import pathlib, time; pathlib.Path({str(flag)!r}).touch(); time.sleep(300)")
    supervisor.start(Service("one", touch, is_ready=flag.exists, address="somewhere"))
    assert flag.exists()
    assert "one" in said[0]
    assert "somewhere" in said[0]


def test_one_that_dies_at_its_start_shows_the_end_of_its_log(supervisor: Supervisor) -> None:
    broken = Service("broken", program("raise SystemExit('no such table')"), is_ready=lambda: False)
    with pytest.raises(UnavailableError, match=r"(?s)broken ended at its start.*no such table"):
        supervisor.start(broken)


def test_what_is_killed_during_the_start_is_started_again(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    def killed_once(name: str) -> Service:
        flag = tmp_path / name
        code = program(f"""
            import os, pathlib, signal, time
            flag = pathlib.Path({str(flag)!r})
            if not flag.exists():
                flag.write_text('killed')
                os.kill(os.getpid(), signal.SIGKILL)
            flag.write_text('ready')
            time.sleep(300)
        """)
        return Service(name, code, is_ready=lambda: flag.exists() and flag.read_text() == "ready")

    earlier = tmp_path / "go"
    base = killed_once("base")
    waits = program(f"""
        import pathlib, time
        pathlib.Path({str(earlier)!r}).touch()
        time.sleep(300)
    """)
    supervisor.start(
        Service("first", base.command)
    )  # ready at once, and dies during the next start
    supervisor.start(
        killed_once("second"),
        Service("third", waits, is_ready=lambda: earlier.exists() and bool(base.is_ready())),  # type: ignore[misc]
    )


def test_one_that_is_killed_at_every_start_is_given_up(supervisor: Supervisor) -> None:
    doomed = program("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(UnavailableError, match="doomed ended at its start"):
        supervisor.start(Service("doomed", doomed, is_ready=lambda: False))


def test_what_dies_is_started_again_and_a_crash_loop_is_reported(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    starts = tmp_path / "starts"
    go = tmp_path / "go"
    crash = program(f"""
        import pathlib, time
        open({str(starts)!r}, 'a').write('x')
        while not pathlib.Path({str(go)!r}).exists():
            time.sleep(0.01)
        raise SystemExit('boom')
    """)
    supervisor.start(Service("crashing", crash, is_ready=starts.exists))
    go.touch()
    deadline = time.monotonic() + PATIENCE_S
    supervisor.watch(
        until=lambda: any("died 3 times" in line for line in said) or time.monotonic() > deadline
    )
    assert len(starts.read_text()) == 3
    assert [line.split(" in ")[-1] for line in said if "starting it again" in line] == [
        "0.5 s",
        "1 s",
        "2 s",
    ]
    assert "boom" in said[-1]


def test_groups_stop_in_their_order_and_the_stubborn_are_killed(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    order = tmp_path / "order"
    noted = """
        import signal, sys, time
        def end(*_):
            open({path!r}, 'a').write({name!r} + ' ')
            sys.exit(0)
        signal.signal(15, end)
        print('up', flush=True)
        time.sleep(300)
    """
    for name in ("redis", "api", "worker-1", "worker-2"):
        command = program(noted.format(path=str(order), name=name))
        log = tmp_path / "logs" / f"{name}.log"
        supervisor.start(Service(name, command, is_ready=lambda log=log: "up" in log.read_text()))  # type: ignore[misc]
    log = tmp_path / "logs" / "api-stubborn.log"
    supervisor.start(Service("api-stubborn", STUBBORN, is_ready=lambda: "up" in log.read_text()))
    assert not supervisor.stop((("worker",), ("api",)), 3)
    *workers, third, fourth = order.read_text().split()
    assert set(workers) == {"worker-1", "worker-2"}
    assert (third, fourth) == ("api", "redis")
    assert "api-stubborn did not stop in time" in said[-1]


def test_an_orphan_stops_itself(tmp_path: Path) -> None:
    orphan = Supervisor(tmp_path, {}, lambda _: None, parent=os.getppid() + 1)
    assert orphan.is_orphan
    with pytest.raises(Stopped):
        orphan.watch()


SUPERVISED = """
    import os, sys
    from pathlib import Path
    from producer.local.services import Service
    from producer.local.supervisor import Stopped, Supervisor
    parent = os.getppid() if "--exit-with-parent" in sys.argv else None
    supervisor = Supervisor(Path(sys.argv[1]), dict(os.environ), print, parent)
    with supervisor.signals():
        try:
            supervisor.start(Service("one", (sys.executable, "-c", "import time; time.sleep(300)")))
            print("pid", os.getpid(), supervisor._running["one"].child.pid, flush=True)
            supervisor.watch()
        except Stopped:
            supervisor.stop((), 5)
"""


def started(command: list[str]) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("pid"):
            return process, [psutil.Process(int(pid)) for pid in line.split()[1:]]
    raise AssertionError("it did not start")


def assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_zero_and_leaves_nothing(tmp_path: Path, number: int) -> None:
    process, family = started([*program(SUPERVISED), str(tmp_path)])
    process.send_signal(number)
    assert process.wait(PATIENCE_S) == 0
    assert process.stdout is not None
    process.stdout.close()
    assert_gone(family)


def test_killed_hard_it_leaves_nothing(tmp_path: Path) -> None:
    process, family = started([*program(SUPERVISED), str(tmp_path)])
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    assert_gone(family)


def test_nothing_stays_when_only_the_make_above_it_is_killed(tmp_path: Path) -> None:
    makefile = tmp_path / "Makefile"
    script = tmp_path / "supervised.py"
    script.write_text(textwrap.dedent(SUPERVISED))
    makefile.write_text(
        f"run:\n\t@PYTHONPATH={Path.cwd()} exec {sys.executable} {script} {tmp_path} "
        "--exit-with-parent\n"
    )
    process, family = started(["make", "--no-print-directory", "-f", str(makefile), "run"])
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    assert_gone(family)
