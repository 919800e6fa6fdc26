"""Keeps a set of services running: starts them, restarts what dies, stops them in order.

Single-threaded on purpose: children die with the thread that started them. Nothing here knows
what the services do.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from producer.local.processes import ChildProcess, start_child
from producer.local.services import Service
from shared.errors import UnavailableError

_POLL_S = 0.05
_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 10.0
_STEADY_S = 30.0
"""A service that ran this long has recovered: its next death begins with the first pause."""
_LOOP_DEATHS = 3
_READY_PATIENCE_S = 120.0
_LAST_WORDS_S = 3.0

Say = Callable[[str], None]


class Stopped(Exception):  # noqa: N818 - not an error: somebody asked
    """Raised inside a start or a watch when the program is asked to stop."""


@dataclass(slots=True)
class _Running:
    service: Service
    child: ChildProcess
    started_at: float
    deaths: int = 0
    restart_at: float | None = None


@dataclass(slots=True)
class Supervisor:
    """Runs services with one environment, their outputs in `logs`; `say` tells people.

    With `parent`, it also stops when that process is no longer its parent: when `make` is killed,
    what it started goes too.
    """

    logs: Path
    env: Mapping[str, str] = field(repr=False)
    say: Say
    parent: int | None = None
    _running: dict[str, _Running] = field(default_factory=dict)
    _asked: int = 0

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Take SIGINT, SIGTERM and SIGHUP as the wish to stop, a second one as impatience."""
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def is_asked_to_stop(self) -> bool:
        """Whether a signal came, or the parent is gone."""
        return bool(self._asked) or self.is_orphan

    @property
    def is_orphan(self) -> bool:
        """Whether the process that started us is gone."""
        return self.parent is not None and os.getppid() != self.parent

    def start(self, *services: Service) -> None:
        """Start services side by side and wait until each is ready, saying so.

        What somebody kills meanwhile, also of those that were ready before, is started again.
        Raises UnavailableError with the log's last lines when one gives up by itself before it is
        ready, is killed again and again or takes far too long; Stopped when asked to stop.
        """
        began = time.monotonic()
        for service in services:
            self._running[service.name] = _Running(service, self._spawn(service), began)
        waiting = list(services)
        while waiting:
            self._pause()
            for service in list(waiting):
                if self._came_up(service, began):
                    waiting.remove(service)
                    seconds = time.monotonic() - began
                    self.say(f"  {service.name:<19} ready in {seconds:.1f} s  {service.address}")
            self.tend()

    def watch(self, until: Callable[[], bool] = lambda: False) -> None:
        """Restart what dies, until `until` says so. Raises Stopped when asked to stop."""
        while not until():
            self._pause()
            self.tend()

    def tend(self) -> None:
        """Look once after every service: restart what died and whose pause is over."""
        now = time.monotonic()
        for running in self._running.values():
            if running.restart_at is not None:
                if now >= running.restart_at:
                    self._restart(running, now)
            elif not running.child.is_alive:
                self._note_death(running, now)

    def stop(self, order: Sequence[Sequence[str]], grace_s: float) -> bool:
        """Stop all: group by group in `order` (names, or the beginnings of names), the rest last.

        The first group gets most of the time. Returns whether all ended by themselves.
        """
        deadline = time.monotonic() + grace_s
        groups = [*self._groups(order), list(self._running)]
        graceful = True
        for index, names in enumerate(groups):
            reserve = min(_LAST_WORDS_S, grace_s / 5) * (len(groups) - 1 - index)
            graceful &= self._stop_group(names, deadline - reserve)
        return graceful

    def _groups(self, order: Sequence[Sequence[str]]) -> list[list[str]]:
        return [
            [name for name in self._running if name.startswith(tuple(group))] for group in order
        ]

    def _stop_group(self, names: Sequence[str], deadline: float) -> bool:
        children = [self._running.pop(name).child for name in names if name in self._running]
        for child in children:
            child.ask_to_stop()
        graceful = True
        for child in children:
            while child.is_alive and time.monotonic() < deadline and self._asked <= 1:
                child.wait(_POLL_S)
            if child.is_alive:
                graceful = False
                self.say(f"  {child.name} did not stop in time and was killed")
            child.kill()
        return graceful

    def _spawn(self, service: Service) -> ChildProcess:
        log = self.logs / f"{service.name}.log"
        return start_child(service.name, service.command, env={**self.env, **service.env}, log=log)

    def _came_up(self, service: Service, began: float) -> bool:
        running = self._running[service.name]
        child = running.child
        if not child.is_alive:
            gave_up = (child.exit_code or 0) > 0
            if gave_up or running.deaths >= _LOOP_DEATHS:
                raise UnavailableError(f"{service.name} ended at its start:\n{child.log_tail()}")
            return False  # somebody killed it: `tend` starts it again
        if time.monotonic() - began > _READY_PATIENCE_S:
            raise UnavailableError(f"{service.name} does not get ready:\n{child.log_tail()}")
        return service.is_ready is None or service.is_ready()

    def _note_death(self, running: _Running, now: float) -> None:
        running.deaths = 1 if now - running.started_at > _STEADY_S else running.deaths + 1
        pause = min(_FIRST_PAUSE_S * 2 ** (running.deaths - 1), _LONGEST_PAUSE_S)
        running.restart_at = now + pause
        name, code = running.service.name, running.child.exit_code
        self.say(f"  {name} ended with code {code}; starting it again in {pause:g} s")
        if running.deaths % _LOOP_DEATHS == 0:
            self.say(f"  {name} died {running.deaths} times in a row; the end of its log:")
            self.say(running.child.log_tail())

    def _restart(self, running: _Running, now: float) -> None:
        running.child.kill()  # what it left in its process group
        running.child = self._spawn(running.service)
        running.started_at = now
        running.restart_at = None

    def _pause(self) -> None:
        if self.is_asked_to_stop:
            raise Stopped
        time.sleep(_POLL_S)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._asked += 1
