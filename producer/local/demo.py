"""`promptmill demo` (`make run`): a real file of prompts from its submission to its results.

Everything is real: the HTTP API, the queue, the workers, the budget, the signed webhook. Only the
models' answers are simulated where no provider's key is set, which is said.
"""

import json
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from producer.client import Batch, Promptmill
from producer.local import demo_report, local_setup
from producer.local.mill import Mill, MillOptions, running_mill, watch_until_stopped
from producer.local.ports import LOOPBACK, claim_port
from producer.local.services import Service, answers, fetch_json
from producer.local.supervisor import Say, Stopped
from producer.local.up import SIMULATED, addresses
from shared.errors import UnavailableError
from shared.settings import Settings

SAMPLES = Path(__file__).parents[1] / "samples"
SAMPLE = SAMPLES / "demo.jsonl"
LOCAL_SAMPLE = SAMPLES / "local.jsonl"
"""Short questions: the local model is small and has one thread."""

RESULTS = Path("results.jsonl")
_CAP_USD = "5.00"
_PATIENCE_S = 900.0
_WEBHOOK_PATIENCE_S = 60.0

Progress = Callable[[], AbstractContextManager[Callable[[Batch], None]]]


@dataclass(frozen=True, slots=True)
class Receiver:
    """A webhook receiver on this machine that verifies signatures."""

    url: str

    def verified_events(self) -> list[dict[str, Any]]:
        """The events whose signature was good, newest last."""
        kept = fetch_json(f"{self.url}/_receiver/events")["events"]
        return [event for event in kept if event["verified"]]


def demo(
    settings: Settings,
    options: MillOptions,
    say: Say,
    progress: Progress,
    *,
    keep: bool = False,
    local: bool = False,
) -> int:
    """Run the sample; 0 when every job was answered and the webhook arrived, otherwise 1.

    `keep` uses the settings' own home and stays up afterwards; otherwise the home is temporary.
    `local` answers by the real model of the extra `local`. Results are written to
    `./results.jsonl`. Raises what `up` raises.
    """
    with _home(settings, keep=keep) as home:
        own = settings.model_copy(update={"home": home})
        chosen = _options(options, own, local=local)
        say(f"Promptmill starts everything it needs in {own.home_dir}")
        try:
            with running_mill(own, chosen, say) as mill:
                if mill.simulator_url:
                    say("\n" + SIMULATED + "\n")
                code = _run(mill, LOCAL_SAMPLE if local else SAMPLE, say, progress)
                if keep:
                    for line in addresses(mill, own):
                        say(line)
                    watch_until_stopped(mill)
        except Stopped:
            say("Stopped before the end.")
            return 130
        say("Everything that was started is stopped.")
        return code


def _options(options: MillOptions, settings: Settings, *, local: bool) -> MillOptions:
    env = {
        **options.env,
        # The demo's own receiver stands on this machine, which webhooks may otherwise not reach.
        "PROMPTMILL_WEBHOOK_ALLOWED_CIDRS": ",".join(
            (*settings.webhook_allowed_cidrs, f"{LOOPBACK}/32")
        ),
    }
    chosen = replace(options, port=0, flower_port=0, env=env)
    if not local:
        return chosen
    folder = settings.home_dir / "local-model"
    model, catalog = local_setup.prepare(folder, claim_port(0, ""))
    env = {**env, "PROMPTMILL_CATALOG": str(catalog)}
    return replace(chosen, env=env, simulator=False, before=(*options.before, model))


def _run(mill: Mill, sample: Path, say: Say, progress: Progress) -> int:
    with Promptmill(mill.api_url, mill.key) as client:
        receiver = _start_receiver(mill, client)
        began = time.monotonic()
        batch = client.submit(
            sample, name="demo", max_cost_usd=_CAP_USD, webhook_url=receiver.url + "/hook"
        )
        for bad in batch.rejected:
            say(f"  line {bad['line']} was refused: {bad['message']}")
        with progress() as look:
            batch = client.wait(batch.id, on_progress=_tending(mill, look))
        seconds = time.monotonic() - began
        with RESULTS.open("wb") as target:
            client.write_results(batch.id, target)
        report = client.report(batch.id)
    announced = _await_webhook(mill, receiver, batch.id)
    lines = [json.loads(line) for line in RESULTS.read_bytes().splitlines()]
    demo_report.show(sys.stdout, lines, report, batch, seconds, cap_usd=_CAP_USD)
    if mill.simulator_url:
        say(_bill_line(mill.simulator_url, batch))
    say(
        "The webhook batch.completed arrived, and its signature is good."
        if announced
        else "The webhook did not arrive, or its signature was wrong."
    )
    say(f"Results: {RESULTS.resolve()}")
    answered = bool(lines) and all(line["status"] == "completed" for line in lines)
    if not answered:
        say("Not every prompt was answered: see the table.")
    return 0 if answered and announced and not batch.rejected else 1


def _start_receiver(mill: Mill, client: Promptmill) -> Receiver:
    port = claim_port(0, "")
    url = f"http://{LOOPBACK}:{port}"
    secret = client.create_webhook(f"{url}/hook", name="demo")["signing_secret"]
    command = (sys.executable, "-m", "simulator.webhook_receiver", "--port", str(port))
    mill.supervisor.start(
        Service(
            "receiver",
            (*command, "--host", LOOPBACK),
            is_ready=lambda: answers(f"{url}/health"),
            env={"WEBHOOK_SECRET": secret},
        )
    )
    return Receiver(url)


def _tending(mill: Mill, look: Callable[[Batch], None]) -> Callable[[Batch], None]:
    deadline = time.monotonic() + _PATIENCE_S

    def tend(batch: Batch) -> None:
        look(batch)
        mill.supervisor.tend()
        if mill.supervisor.is_asked_to_stop:
            raise Stopped
        if time.monotonic() > deadline:
            raise UnavailableError(f"the sample is not done after {_PATIENCE_S:.0f} seconds")

    return tend


def _await_webhook(mill: Mill, receiver: Receiver, batch_id: str) -> bool:
    deadline = time.monotonic() + _WEBHOOK_PATIENCE_S

    def arrived() -> bool:
        bodies = [event["body"] for event in receiver.verified_events()]
        return any(batch_id in (body if isinstance(body, str) else str(body)) for body in bodies)

    mill.supervisor.watch(until=lambda: arrived() or time.monotonic() > deadline)
    return arrived()


def _bill_line(simulator_url: str, batch: Batch) -> str:
    billed = int(fetch_json(f"{simulator_url}/_simulator/bill")["total_nusd"])
    if billed == batch.cost_nusd:
        return "The simulated provider's own bill is the same, to the nano-dollar."
    return f"The simulated provider's own bill differs: {billed} nano-dollars."


@contextmanager
def _home(settings: Settings, *, keep: bool) -> Iterator[Path]:
    if keep:
        yield settings.home_dir
        return
    folder = Path(tempfile.mkdtemp(prefix=f"promptmill-demo-{secrets.token_hex(2)}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
