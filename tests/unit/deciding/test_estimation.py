"""Estimates order models; the worst case limits money."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.catalog.pricing import cost_nusd
from shared.catalog.spec import Catalog
from shared.deciding.estimation import (
    demand_of,
    expected_cost_nusd,
    max_tokens_for,
    worst_cost_nusd,
)
from shared.domain.inference import Request, TaskType, Usage


def asked(text: str, **fields: object) -> Request:
    return Request(messages=({"role": "user", "content": text},), **fields)  # type: ignore[arg-type]


def limit_of(request: Request, catalog: Catalog, default: int = 1024) -> int | None:
    demand = demand_of(request, TaskType.ANALYSIS)
    return max_tokens_for(request, demand, catalog.models["small"], default)


def test_the_limit_is_the_requests_else_the_default_and_never_above_the_models(
    catalog: Catalog,
) -> None:
    assert limit_of(asked("x"), catalog) == 1024
    assert limit_of(asked("x", max_tokens=7), catalog) == 7
    assert limit_of(asked("x", max_tokens=99_999), catalog) == 4_000


def test_a_request_that_does_not_fit_the_window_has_no_limit(catalog: Catalog) -> None:
    assert limit_of(asked("x" * 280_000), catalog) == 1024
    assert limit_of(asked("x" * 280_000, max_tokens=4_000), catalog) == 4_000
    assert limit_of(asked("x" * 299_000, max_tokens=4_000), catalog) is None


def test_a_one_hour_cache_is_seen_in_the_request() -> None:
    part = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    cached = Request(messages=({"role": "user", "content": [part]},))
    assert demand_of(cached, TaskType.CODING).writes_1h_cache
    assert not demand_of(asked("x"), TaskType.CODING).writes_1h_cache


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=500), st.integers(1, 5_000), st.integers(1, 4), st.sampled_from(TaskType))
def test_the_worst_case_covers_the_expectation_and_a_full_answer(
    catalog: Catalog, text: str, max_tokens: int, choices: int, task_type: TaskType
) -> None:
    request = asked(text, max_tokens=max_tokens, extras={"n": choices})
    demand = demand_of(request, task_type)
    model = catalog.models["middle"]
    limit = max_tokens_for(request, demand, model, 1024)
    assert limit is not None
    worst = worst_cost_nusd(request, demand, model, limit)
    full = Usage(input_tokens=len(text.encode()), output_tokens=limit * choices)
    assert expected_cost_nusd(demand, model, limit) <= worst
    assert cost_nusd(model.price, full) <= worst
