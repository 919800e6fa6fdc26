"""The whole room against the simulator as a process: its own bill is the oracle."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from shared.catalog.pricing import cost_nusd
from shared.domain.inference import Usage
from tests.servers.simulator import SimulatorServer
from tests.unit.providers.specs import ask, catalog_of, model_of, provider_of
from worker.providers.caller import ModelCaller
from worker.providers.errors import (
    AccountRefused,
    MaybeBilled,
    NotSent,
    ProviderError,
    RequestRefused,
    Throttled,
    Unavailable,
)

WIRES = ["openai", "anthropic", "gemini", "cohere"]
PRICES = {
    "models": {
        "acme-small-1": {
            "input_usd_per_mtok": "1",
            "output_usd_per_mtok": "2",
            "cached_input_usd_per_mtok": "0.5",
            "cache_write_usd_per_mtok": "1.25",
        }
    }
}


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def caller(wire: str, simulator: SimulatorServer, redis: Redis) -> AsyncIterator[ModelCaller]:
    simulator.set_prices(PRICES)
    version = "/v1" if wire == "openai" else ""
    provider = provider_of(wire, f"{simulator.url}/{wire}{version}", timeout_s=1.0)
    caller = ModelCaller.over(catalog_of(provider), {"acme": ("test-key-1",)}, redis)
    yield caller
    await caller.aclose()


async def call(caller: ModelCaller, text: str = "What is 17*23?", **fields: object):
    prepared = caller.prepare("small", ask(text, **fields), 200)
    completion = await caller.send(prepared, await caller.admit(prepared))
    cost = cost_nusd(prepared.model.price, completion.usage)
    assert cost <= prepared.worst_case_nusd
    return completion, cost


async def test_what_we_charge_is_what_the_provider_bills(
    caller: ModelCaller, simulator: SimulatorServer
):
    completion, cost = await call(caller)
    assert "391" in completion.text
    assert simulator.bill()["total_nusd"] == cost


async def test_caching_and_reasoning_are_billed_as_reported(
    caller: ModelCaller, simulator: SimulatorServer
):
    usage = {"cached_share": 0.5, "cache_write_share": 0.25, "reasoning_tokens": 7}
    simulator.set_scenario({"latency_ms": 0, "usage": usage})
    _, cost = await call(caller, "Tell me about rivers. " * 20)
    assert simulator.bill()["total_nusd"] == cost


async def test_sampling_and_json_are_accepted(caller: ModelCaller):
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    wish = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    completion, _ = await call(caller, "Give JSON", temperature=0.2, response_format=wish)
    assert completion.text.strip().startswith("{")


@pytest.mark.parametrize(
    ("rule", "errors", "is_billed"),
    [
        ({"fault": "429", "retry_after_s": 3, "dialect": "seconds"}, Throttled, False),
        ({"fault": "429", "retry_after_s": 3, "dialect": "ms"}, Throttled, False),
        ({"fault": "429", "retry_after_s": 3, "dialect": "http-date"}, Throttled, False),
        ({"fault": "429", "retry_after_s": 3, "dialect": "text"}, Throttled, False),
        ({"fault": "500"}, Unavailable, False),
        ({"fault": "502"}, Unavailable, False),
        ({"fault": "503"}, Unavailable, False),
        ({"fault": "529"}, Unavailable, False),
        ({"fault": "401"}, AccountRefused, False),
        ({"fault": "402"}, AccountRefused, False),
        ({"fault": "403"}, AccountRefused, False),
        ({"fault": "404"}, RequestRefused, False),
        ({"fault": "insufficient_quota"}, AccountRefused, False),
        ({"fault": "credit_too_low"}, AccountRefused, False),
        ({"fault": "400"}, RequestRefused, False),
        ({"fault": "504"}, Unavailable, False),
        ({"fault": "hang", "billed": True}, MaybeBilled, True),
        ({"fault": "hang", "billed": False}, MaybeBilled, False),
        ({"fault": "cut_before"}, MaybeBilled, False),
        ({"fault": "cut_after"}, MaybeBilled, True),
        ({"fault": "garbage"}, MaybeBilled, None),
    ],
    ids=lambda value: str(value.get("fault")) if isinstance(value, dict) else None,
)
async def test_every_fault_is_told_for_what_it_is(
    caller: ModelCaller,
    simulator: SimulatorServer,
    rule: Any,
    errors: Any,
    is_billed: Any,
    wire: str,
):
    simulator.set_scenario({"latency_ms": 0, "rules": [{"match": {}, **rule}]})
    with pytest.raises(ProviderError) as caught:
        await call(caller)
    if rule["fault"] == "insufficient_quota" and wire in ("gemini", "cohere"):
        assert isinstance(caught.value, Throttled | AccountRefused)
    else:
        assert type(caught.value) is errors, caught.value
    assert not isinstance(caught.value, NotSent)
    if "retry_after_s" in rule:
        assert caught.value.retry_after_s == pytest.approx(3, abs=1.5)
    if is_billed is not None:
        billed = simulator.bill()["total_nusd"] > 0
        assert billed is is_billed
        assert not billed or isinstance(caught.value, MaybeBilled)


@pytest.mark.parametrize("fault", ["refused", "blocked", "truncated", "empty", "weak"])
async def test_a_poor_answer_is_still_an_answer_at_its_price(
    caller: ModelCaller, simulator: SimulatorServer, wire: str, fault: str
):
    simulator.set_scenario({"latency_ms": 0, "rules": [{"match": {}, "fault": fault}]})
    if (wire, fault) == ("cohere", "blocked"):  # its word for that is ERROR, at the usual price
        with pytest.raises(Unavailable) as caught:
            await call(caller)
        cost = cost_nusd(model_of().price, caught.value.billed or Usage())
    else:
        _, cost = await call(caller)
    assert simulator.bill()["total_nusd"] == cost


async def test_blank_lines_while_it_thinks_are_no_matter(
    caller: ModelCaller, simulator: SimulatorServer
):
    simulator.set_scenario({"latency_ms": 0, "rules": [{"match": {}, "fault": "blank_lines"}]})
    completion, cost = await call(caller)
    assert completion.text
    assert simulator.bill()["total_nusd"] == cost
