"""Chaos: batches keep going under random kills, stops, losses of Redis and faults of others.

`python -m tests.chaos --seconds 180 --seed 7 [--jobs N] [--database sqlite|postgres]` starts real
servers, an API, workers and repairers, submits through the API, mistreats them all for that long,
lets them finish, checks every invariant by the provider's own bill, and prints the figures. Three
projects have a limit each, by day, month and in total, that is too small until it is raised again
and again; nobody may overdraw it at any moment that is looked at. The seed decides what is done to
whom and when; what was under way at that moment is the machine's business.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

import redis

import migrations
from producer.local.processes import ChildProcess
from shared.clock import utc_now
from shared.db.tables import webhook_deliveries
from shared.fault_points import FaultPoint
from tests.chaos_clients import Clients, Payment, Wish
from tests.chaos_figures import Breakdown, breakdown, overdrawn
from tests.crash.invariants import Figures, check
from tests.crash.plant import Plant, resume, stop
from tests.crash.receiver import SECRET, Receiver
from tests.servers.postgres import PostgresServer
from tests.servers.simulator import SimulatorServer
from tests.servers.valkey import ValkeyServer

WORKERS = 2
PROJECTS = {"acme": "day", "small": "month", "late": "total"}
LIMIT_NUSD = 2_000_000_000
LIMIT_OF_A_JOB_NUSD = 6_000
"""About half of what a job costs here, so that every project runs out of money at times."""
LEASE_S = 3.0
FINISH_S = 240.0
FAULTS = (
    {"rules": [{"fault": "500", "share": 0.05}, {"fault": "cut_after", "share": 0.02}]},
    {"rules": [{"fault": "429", "share": 0.05, "retry_after_s": 0.5}]},
    {"rules": [{"fault": "cut_before", "share": 0.05}, {"fault": "503", "share": 0.05}]},
    {},
)
UPLOAD_POINTS = (
    FaultPoint.AFTER_SPOOLING,
    FaultPoint.AFTER_BATCH_ROW,
    FaultPoint.AFTER_BLOCK,
    FaultPoint.BEFORE_SEAL_COMMIT,
    FaultPoint.AFTER_SEAL,
)


class Chaos:
    """A plant that is mistreated. `done` counts what was done to it."""

    def __init__(self, plant: Plant, server: ValkeyServer, receiver: Receiver, seed: int) -> None:
        self.done: Counter[str] = Counter()
        self._plant = plant
        self._server = server
        self._receiver = receiver
        self._random = random.Random(seed)
        self._alive: dict[str, ChildProcess] = {}
        self._stopped: list[tuple[float, ChildProcess]] = []
        self._started = 0
        self._armed = ""
        self._limits = dict.fromkeys(PROJECTS, 0)
        self.clients = Clients(plant)
        self.raised = 0

    def run(self, seconds: float, jobs: int) -> None:
        """Submit, mistreat for so long, and let everything finish."""
        plant = self._plant
        for project in PROJECTS:
            plant.endpoint(f"{self._receiver.url}/{project}", SECRET, project, None)
        self._supervise()
        for share, project in zip((0.6, 0.1, 0.3), PROJECTS, strict=True):
            self._raise_the_limit(project, int(jobs * share))
            self._submit(int(jobs * share), project)
        plant.wait_for(lambda: self.clients.are_served, "the first files are taken in")
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._act()
            self._look_at_the_money()
            if self._all_ended():
                self._submit(jobs // 2, self._random.choice(list(PROJECTS)))
            pause_until = time.monotonic() + self._random.uniform(0.3, 2.0)
            while time.monotonic() < pause_until:
                self._supervise()
                time.sleep(0.05)
        self._finish()

    def _submit(self, count: int, project: str) -> None:
        self.clients.ask(Wish(project, max(1, count)))

    def _all_ended(self) -> bool:
        return self.clients.are_served and all(map(self._plant.has_ended, self._plant.numbers))

    def _raise_the_limit(self, project: str, jobs: int) -> None:
        self._limits[project] += jobs * LIMIT_OF_A_JOB_NUSD
        self.raised += 1
        self.clients.ask(Payment(project, PROJECTS[project], self._limits[project]))

    def _look_at_the_money(self) -> None:
        assert not overdrawn(self._plant), "a project's limit holds at every moment"

    def _act(self) -> None:
        actions = {
            self._kill_a_worker: 4,
            self._stop_a_worker: 3,
            self._kill_the_maintenance: 2,
            self._flush: 2,
            self._restart_redis: 1,
            self._change_the_weather: 3,
            self._kill_the_api_in_an_upload: 2,
            self._trouble_the_receiver: 2,
            self._pay_in: 4,
        }
        action = self._random.choices(list(actions), list(actions.values()))[0]
        self.done[action.__name__.strip("_")] += 1
        action()

    def _kill_a_worker(self) -> None:
        os.kill(self._one("worker").pid, signal.SIGKILL)

    def _stop_a_worker(self) -> None:
        worker = self._one("worker")
        stop(worker)
        until = time.monotonic() + self._random.uniform(0.5, 2.5 * LEASE_S)
        self._stopped.append((until, worker))

    def _kill_the_maintenance(self) -> None:
        os.kill(self._one("maintenance").pid, signal.SIGKILL)

    def _flush(self) -> None:
        with suppress(redis.RedisError):
            self._plant.redis.flushall()

    def _restart_redis(self) -> None:
        self._server.kill()
        if self._random.random() < 0.5:
            shutil.rmtree(self._server.folder / "data")
        self._server.start()

    def _change_the_weather(self) -> None:
        weather = self._random.choice(FAULTS)
        latency = self._random.choice((100, 400, 1000))
        self._plant.simulator.set_scenario({"latency_ms": latency, **weather})

    def _kill_the_api_in_an_upload(self) -> None:
        """The next API process dies of the next submission, somewhere in it."""
        self._armed = self._random.choice(UPLOAD_POINTS).value
        os.kill(self._one("api").pid, signal.SIGKILL)
        self._submit(self._random.randrange(5, 40), self._random.choice(list(PROJECTS)))

    def _trouble_the_receiver(self) -> None:
        """It refuses or dawdles for some deliveries; what it refused is sent again by schedule."""
        trouble = self._random.choice(({"status": 500}, {"status": 302}, {"delay_ms": 3000}))
        self._receiver.behave(times=self._random.randrange(1, 4), **trouble)

    def _pay_in(self) -> None:
        project = self._random.choice(list(PROJECTS))
        self._raise_the_limit(project, self._random.randrange(50, 400))

    def _one(self, kind: str) -> ChildProcess:
        names = sorted(name for name in self._alive if name.startswith(kind))
        return self._alive[self._random.choice(names)]

    def _supervise(self) -> None:
        """What a supervisor does: what died is started again; and who was stopped wakes up."""
        now = time.monotonic()
        for until, child in list(self._stopped):
            if now >= until:
                self._stopped.remove((until, child))
                with suppress(ProcessLookupError):
                    resume(child)
        slots = [f"worker{n}" for n in range(WORKERS)] + ["maintenance0", "maintenance1", "api"]
        for slot in slots:
            child = self._alive.get(slot)
            if child is None or not child.is_alive:
                self._started += 1
                self._alive[slot] = self._start(slot)

    def _start(self, slot: str) -> ChildProcess:
        name = f"{slot}-{self._started}"
        if slot == "api":
            fault, self._armed = self._armed, ""
            return self._plant.launch_api(name, self.clients.port, fault=fault, lease_s=LEASE_S)
        if slot.startswith("worker"):
            return self._plant.start_worker(
                name, threads=8, max_in_flight=16, lease_s=LEASE_S, max_deaths=1000
            )
        return self._plant.start_maintenance(name, lease_s=LEASE_S, max_deaths=1000)

    def _finish(self) -> None:
        plant = self._plant
        self._stopped = [(0.0, child) for _, child in self._stopped]
        plant.simulator.set_scenario({"latency_ms": 5})
        self._receiver.behave()
        self._look_at_the_money()
        for project in PROJECTS:
            self._raise_the_limit(project, LIMIT_NUSD // LIMIT_OF_A_JOB_NUSD)
        plant.wait_for(lambda: self._supervise() or self._all_ended(), "all batches end", FINISH_S)
        self._let_the_deliveries_be_due()
        plant.wait_for(self._all_told, "every batch's end was told", FINISH_S)

    def _all_told(self) -> bool:
        self._supervise()
        return len(self.told()) == len(self._plant.numbers)

    def told(self) -> set[str]:
        """The ids of the events that were taken, each with a good signature."""
        events = self._receiver.events()
        assert all(event["verified"] for event in events)
        return {event["headers"]["webhook-id"] for event in events if event["status"] == 200}

    def _let_the_deliveries_be_due(self) -> None:
        """Spares the run the minute for which a killed dispatcher had claimed its deliveries, and
        the five that are between a second and a third try.
        """
        with self._plant.database.transaction() as connection:
            connection.execute(
                webhook_deliveries.update()
                .where(webhook_deliveries.c.status == "pending")
                .values(next_try_at=utc_now())
            )


def run(
    seconds: float, seed: int, jobs: int, database: str
) -> tuple[Figures, Counter[str], Breakdown]:
    """One run on servers of its own; raises AssertionError where an invariant is broken."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pmx-")))
        server, simulator = ValkeyServer(), SimulatorServer()
        stack.callback(server.remove)
        server.start()
        stack.callback(simulator.remove)
        simulator.start()
        simulator.set_scenario({"latency_ms": 400})
        url = f"sqlite:///{folder / 'promptmill.db'}"
        if database == "postgres":
            postgres = PostgresServer()
            stack.callback(postgres.remove)
            postgres.start()
            url = postgres.url(postgres.create_database())
        migrations.upgrade(url)
        receiver = Receiver(folder)
        stack.callback(receiver.child.kill)
        plant = Plant(folder, url, server.url, simulator, chunk_size=20)
        stack.callback(plant.close)
        chaos = Chaos(plant, server, receiver, seed)
        stack.callback(chaos.clients.stop)
        chaos.run(seconds, jobs)
        figures = check(plant)
        chaos.done["upload_sent_again"] = chaos.clients.again
        return figures, chaos.done, breakdown(plant, figures)


def main() -> int:
    """The command; exit code 0 only where every invariant held."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--database", choices=["sqlite", "postgres"], default="sqlite")
    wanted = parser.parse_args()
    figures, done, parts = run(wanted.seconds, wanted.seed, wanted.jobs, wanted.database)
    print(f"seed {wanted.seed}, {wanted.database}: {dict(sorted(done.items()))}")
    print(f"jobs        {figures.jobs}, completed {figures.completed}, each ended exactly once")
    print(f"calls       {figures.calls} on the provider's bill")
    print(f"bill        {figures.bill_nusd:>15,} nUSD")
    print(f"charged     {figures.charged_nusd:>15,} nUSD, never more than a project's limit")
    share = figures.unconfirmed_nusd / max(1, figures.charged_nusd)
    print(f"unconfirmed {figures.unconfirmed_nusd:>15,} nUSD ({share:.1%}),")
    for line in parts.lines():
        print(line)
    print("every invariant held; every batch's end was told, signed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
