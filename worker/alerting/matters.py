"""What there is to be told: the present matters, from what database, broker and Redis say. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.budget.model import Scope, ScopeKind
from shared.domain.batch import BatchStatus
from shared.domain.money import usd_from_nusd
from shared.provider_health import KeyHealth, KeyState

FIRST_SHARE: Final = 80
"""Percent of a limit from which on its spending is told."""

_ALL: Final = 100
_STATES: Final = {
    KeyState.OPEN: " (its calls fail: none but a probe is sent for a while)",
    KeyState.PAUSED: " (its account refuses us: somebody must mend it)",
}


@dataclass(frozen=True, slots=True)
class Matter:
    """Something that somebody should look at. key: the same as long as it is the same matter.
    lasts_s: how long it must last before it is told.
    """

    key: str
    kind: str
    severity: str
    message: str
    project_id: str | None = None
    lasts_s: float = 0.0


def budgets(windows: Sequence[Any]) -> Iterator[Matter]:
    """Of rows of `holds.limited_windows`; a raised limit is a new matter."""
    for row in windows:
        for percent, severity in ((_ALL, "critical"), (FIRST_SHARE, "warning")):
            if row.spent_nusd * 100 >= row.limit_nusd * percent:
                name = ":".join(filter(None, (row.kind, row.project_id, row.period)))
                message = (
                    f"{row.project_id}: {percent} % of the {row.kind} budget is spent: "
                    f"{usd_from_nusd(row.spent_nusd)} of {usd_from_nusd(row.limit_nusd)} USD"
                )
                key = f"budget.threshold:{name}:{percent}:{row.limit_nusd}"
                yield Matter(key, "budget.threshold", severity, message, row.project_id)
                break


def held(scopes: Mapping[Scope, str | None]) -> Iterator[Matter]:
    """Of scopes that hold jobs, and the projects they belong to: one matter a limit, and one for
    all batches of a project that have used up limits of their own.
    """
    capped: dict[str | None, list[str]] = {}
    for scope, project_id in scopes.items():
        if scope.kind is ScopeKind.BATCH:
            capped.setdefault(project_id, []).append(scope.key)
            continue
        message = f"{project_id}: jobs wait for money, {_in_words(scope)} is used up"
        key = f"budget.exhausted:{scope.text}"
        yield Matter(key, "budget.exhausted", "critical", message, project_id)
    for project_id, batches in sorted(capped.items(), key=str):
        first, others = min(batches), len(batches) - 1
        which = f"batch {first}" + (f" and {others} more" if others else "")
        message = (
            f"{project_id}: jobs of {which} wait for money, the batch's own limit is used up: "
            "`promptmill resume BATCH --max-cost USD` raises it"
        )
        key = f"budget.exhausted:batches:{project_id}"
        yield Matter(key, "budget.exhausted", "warning", message, project_id)


def _in_words(scope: Scope) -> str:
    match scope.kind:
        case ScopeKind.DAY | ScopeKind.MONTH:
            return f"the {scope.kind.value} budget of {scope.period}"
        case ScopeKind.KEY:
            return f"the spend limit of key {scope.key}"
        case _:
            return f"the {scope.kind.value} budget"


def circuits(keys: Mapping[str, KeyHealth]) -> Iterator[Matter]:
    """Of the health of provider keys: one matter a provider and state."""
    sick: dict[tuple[str, KeyState], list[KeyHealth]] = {}
    for key, health in keys.items():
        if health.state is not KeyState.CLOSED:
            sick.setdefault((key.rpartition(":")[0], health.state), []).append(health)
    for (provider, state), several in sorted(sick.items()):
        reason = next((health.reason for health in several if health.reason), "no reason told")
        what = _STATES.get(state, "")
        message = f"{provider}: {state.value}{what}, keys: {len(several)}: {reason}"
        key = f"provider.{state.value}:{provider}"
        yield Matter(key, f"provider.{state.value}", "warning", message, lasts_s=30.0)


def queues(
    open_batches: Sequence[Any], processes: Sequence[Any], depths: Mapping[str, int]
) -> Iterator[Matter]:
    """Of rows of `gauges.open_batches` and `gauges.processes`, and chunks by queue."""
    under_way = sum(row.count for row in open_batches if row.status == BatchStatus.IN_PROGRESS)
    workers = [row for row in processes if row.kind == "worker"]
    waiting = sum(depths.values())
    if under_way and not workers:
        message = f"{under_way} batches are in progress and no worker has a heartbeat"
        yield Matter("queue.no_worker", "queue.no_worker", "critical", message, lasts_s=60.0)
    elif waiting and not sum(int(row.running or 0) for row in workers):
        message = f"{waiting} chunks wait in the queue and no worker runs a job"
        yield Matter("queue.stuck", "queue.stuck", "critical", message, lasts_s=120.0)


def webhooks(endpoints: Sequence[Any]) -> Iterator[Matter]:
    """Of rows of `alerts.failing_endpoints`."""
    for row in endpoints:
        state = "it is disabled" if row.status == "disabled" else "it is tried again"
        message = (
            f"{row.project_id}: webhook {row.id} has taken nothing since "
            f"{row.failing_since:%Y-%m-%d %H:%M} UTC; {state}"
        )
        yield Matter(
            f"webhook.failing:{row.id}", "webhook.failing", "warning", message, row.project_id
        )
