"""A whole Promptmill on this machine: what is started, in which order, and how it is stopped."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import migrations
from producer.local import embedded_redis, services
from producer.local.admin_key import admin_key
from producer.local.home_lock import locked_home
from producer.local.ports import claim_port
from producer.local.services import Service
from producer.local.supervisor import Say, Stopped, Supervisor
from shared.catalog.loader import load_catalog
from shared.catalog.simulated import price_table
from shared.catalog.spec import Catalog
from shared.redis_client import connect, mapped_redis_errors
from shared.settings import Settings

_ORPHAN_GRACE_S = 10.0
_WORKERS_SHARE = 0.6
"""Of the time for stopping: what workers may take to hand back what they hold."""

_STOP_ORDER = (("worker",), ("maintenance", "flower", "api"), ("simulator", "local-model"))


@dataclass(frozen=True, slots=True)
class MillOptions:
    """What `up` and `demo` decide. Ports of 0 are free ones. workers None: by the machine's cores.
    simulator None: only where no provider can be used. `env` is added for all services, `before`
    are services that must be ready before the workers start.
    """

    port: int = 8000
    flower_port: int = 5555
    workers: int | None = None
    simulator: bool | None = None
    exit_with_parent: bool = False
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    before: Sequence[Service] = ()


@dataclass(frozen=True, slots=True)
class Mill:
    """A running Promptmill. `simulator_url` is empty where real providers are called."""

    api_url: str
    flower_url: str
    key: str = field(repr=False)
    simulator_url: str
    supervisor: Supervisor


@contextmanager
def running_mill(settings: Settings, options: MillOptions, say: Say) -> Iterator[Mill]:
    """Start everything, yield it, and stop all of it however the block ends.

    Raises ConflictError (home or port in use), ConfigurationError, UnavailableError (a part does
    not start; with its log's last lines), Stopped (a signal came meanwhile).
    """
    parent = os.getppid() if options.exit_with_parent else None
    with locked_home(settings.home_dir):
        settings.address_file.unlink(missing_ok=True)  # of one that was killed
        plan = _Plan.made(settings, options)
        supervisor = Supervisor(settings.home_dir / "logs", plan.env, say, parent)
        with supervisor.signals():
            try:
                yield _started(settings, options, plan, supervisor, say)
            finally:
                settings.address_file.unlink(missing_ok=True)
                grace_s = _ORPHAN_GRACE_S if supervisor.is_orphan else settings.grace_s
                supervisor.stop(_STOP_ORDER, grace_s)


def watch_until_stopped(mill: Mill) -> None:
    """Keep everything running until somebody asks to stop."""
    try:
        mill.supervisor.watch()
    except Stopped:
        return


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything that is decided before the first process starts."""

    key: str = field(repr=False)
    port: int
    flower_port: int
    simulator: Service | None
    simulator_url: str
    env: Mapping[str, str] = field(repr=False)
    run: Path

    @classmethod
    def made(cls, settings: Settings, options: MillOptions) -> "_Plan":
        port = claim_port(options.port, "--port")
        flower_port = claim_port(options.flower_port, "--flower-port")
        run = _fresh_folder(settings.home_dir / "run")
        _fresh_folder(settings.metrics_dir)
        environment = services.shared_environment(
            settings, simulator_url="", worker_grace_s=settings.grace_s * _WORKERS_SHARE
        )
        environment |= options.env
        catalog = load_catalog(Path(environment["PROMPTMILL_CATALOG"]), environment)
        simulator = None
        url = "" if options.simulator is False else settings.simulator_url
        if options.simulator or (options.simulator is None and not url and not _usable(catalog)):
            prices = run / "prices.toml"
            services.write_price_list(price_table(catalog), prices)
            simulator = services.simulator(claim_port(0, ""), prices)
            url = simulator.address
        environment["PROMPTMILL_SIMULATOR_URL"] = url
        return cls(admin_key(settings), port, flower_port, simulator, url, environment, run)


def _started(
    settings: Settings, options: MillOptions, plan: _Plan, supervisor: Supervisor, say: Say
) -> Mill:
    if settings.has_embedded_redis:
        supervisor.start(_redis(settings))
    else:
        with mapped_redis_errors(), connect(settings) as client:
            client.ping()
    migrations.upgrade(settings.resolved_database_url)
    say(f"  {'database':<19} up to date")
    supervisor.start(*([plan.simulator] if plan.simulator else []), *options.before)
    flower = services.flower(plan.flower_port, plan.key)
    api = services.api(plan.port, plan.key, flower.address)
    workers = options.workers or max(1, (os.cpu_count() or 1) - 1)
    supervisor.start(
        api,
        *(services.batch_worker(n, settings, plan.run) for n in range(1, workers + 1)),
        services.interactive_worker(plan.run),
        services.maintenance(),
        flower,
    )
    settings.address_file.write_text(api.address + "\n")
    return Mill(api.address, flower.address, plan.key, plan.simulator_url, supervisor)


def _redis(settings: Settings) -> Service:
    socket_path = settings.embedded_redis_socket
    command = embedded_redis.prepare(settings.home_dir / "redis", socket_path)
    return Service(
        "redis",
        command,
        is_ready=lambda: embedded_redis.answers(socket_path),
        address=str(socket_path),
    )


def _usable(catalog: Catalog) -> bool:
    return any(model.provider not in catalog.unavailable for model in catalog.models.values())


def _fresh_folder(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
