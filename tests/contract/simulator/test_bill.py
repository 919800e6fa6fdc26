from collections import defaultdict
from decimal import ROUND_CEILING, Decimal

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.prices import parse_prices
from tests.contract.simulator import wires
from tests.contract.simulator.wires import WIRES, Billed, Wire

USD = {  # input, cached, written, output per million tokens, as the fixture's price file says
    "tiny": ("0.0005", "0.0001", "0.0006", "0.0007"),
    "large-upstream": ("2", "2", "2", "12.5"),
    "unheard-of": ("1", "1", "1", "2"),
}


def recomputed(wire: Wire, model: str, usage: Billed) -> int:
    fresh, cached, written, output = map(Decimal, USD[model])
    if wire is wires.ANTHROPIC and model != "tiny":
        written = fresh * Decimal("1.25")
    usd = (
        usage.fresh * fresh + usage.cached * cached + usage.written * written
        + usage.output * output
    ) / 10**6  # fmt: skip
    return int((usd * 10**9).to_integral_value(ROUND_CEILING))


CALLS = st.lists(
    st.tuples(
        st.sampled_from(WIRES),
        st.sampled_from(sorted(USD)),
        st.text(min_size=1, max_size=60),
        st.integers(1, 60),
        st.booleans(),
    ),
    max_size=12,
)
USAGE = st.fixed_dictionaries(
    {
        "cached_share": st.floats(0, 0.5),
        "cache_write_share": st.floats(0, 0.5),
        "reasoning_tokens": st.integers(0, 30),
        "overreport": st.floats(1, 3),
    }
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(calls=CALLS, usage=USAGE)
def test_the_bill_is_the_sum_of_what_every_answer_reports(
    provider: httpx.Client,
    calls: list[tuple[Wire, str, str, int, bool]],
    usage: dict[str, float],
):
    provider.post("/_simulator/reset")
    provider.put("/_simulator/scenario", json={"usage": usage}).raise_for_status()
    owed: dict[str, int] = defaultdict(int)
    for wire, model, prompt, max_tokens, stream in calls:
        answer = wire.post(provider, prompt, model=model, max_tokens=max_tokens, stream=stream)
        assert answer.status_code == 200
        if not stream:
            used = wire.usage(answer.json())
        elif wire is wires.GEMINI:
            used = wire.usage(list(wires.events(answer.text))[-1])
        elif wire is wires.ANTHROPIC:
            used = wire.usage(list(wires.events(answer.text))[-2])
        else:
            used = wires.streamed(wire, answer.text)[1]
        owed[model] += recomputed(wire, model, used)
    bill = provider.get("/_simulator/bill").json()
    assert {name: line["cost_nusd"] for name, line in bill["by_model"].items()} == owed
    assert bill["total_nusd"] == sum(owed.values())
    assert bill["calls"] == len(calls)
    assert sum(line["cost_nusd"] for line in bill["by_key"].values()) == bill["total_nusd"]


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)
def test_reasoning_stays_within_max_tokens_and_overreporting_does_not(
    provider: httpx.Client, wire: Wire
):
    provider.put("/_simulator/scenario", json={"usage": {"reasoning_tokens": 8}})
    assert wire.usage(wire.post(provider, max_tokens=10).json()).output == 10
    provider.put("/_simulator/scenario", json={"usage": {"overreport": 3}})
    assert wire.usage(wire.post(provider, max_tokens=5).json()).output == 15


def test_a_prefixed_model_has_the_price_of_its_own_name(provider: httpx.Client):
    wires.OPENAI.post(provider, model="openrouter/tiny")
    bill = provider.get("/_simulator/bill").json()
    assert list(bill["by_model"]) == ["openrouter/tiny"]
    assert bill["total_nusd"] == recomputed(wires.OPENAI, "tiny", Billed(fresh=8, output=5))


def test_a_provider_in_the_path_chooses_among_prices_of_one_name():
    table = parse_prices(
        b'{"models": {"a": {"upstream": "m", "provider": "groq", "input_usd_per_mtok": 3,'
        b' "output_usd_per_mtok": 1}, "b": {"upstream": "m", "provider": "together",'
        b' "input_usd_per_mtok": 5, "output_usd_per_mtok": 1}}}'
    )
    assert table.price_of("m", "/together/v1/chat/completions").base.input == 5 * 10**12
    assert table.price_of("m", "/v1/chat/completions").base.input == 3 * 10**12


def test_prices_can_be_replaced_and_long_context_steps_count(provider: httpx.Client):
    old = {
        "models": {
            name: dict(
                zip(
                    (
                        "input_usd_per_mtok",
                        "cached_input_usd_per_mtok",
                        "cache_write_usd_per_mtok",
                        "output_usd_per_mtok",
                    ),
                    prices,
                    strict=True,
                )
            )
            for name, prices in list(USD.items())[:2]
        }
    }
    step = {"input_tokens": 100, "input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}
    entry = {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1", "above": [step]}
    try:
        provider.put("/_simulator/prices", json={"models": {"m": entry}}).raise_for_status()
        wires.OPENAI.post(provider, model="m")
        assert provider.get("/_simulator/bill").json()["total_nusd"] == 13 * 1000
        long = wires.OPENAI.post(provider, "word " * 100, model="m").json()["usage"]
        expected = 13 * 1000 + long["total_tokens"] * 10_000
        assert provider.get("/_simulator/bill").json()["total_nusd"] == expected
        for bad in ({"models": {"m": {"input_usd_per_mtok": "x"}}}, {"models": 3}, []):
            assert provider.put("/_simulator/prices", json=bad).status_code == 400
    finally:
        provider.put("/_simulator/prices", json=old).raise_for_status()


def test_a_reader_who_leaves_a_stream_pays_for_what_was_generated(provider: httpx.Client):
    provider.put("/_simulator/scenario", json={"latency_ms": 2000}).raise_for_status()
    prompt = "Tell me about the rivers of Norway"
    body = wires.OPENAI.body("unheard-of", prompt, 400, stream=True)
    path = wires.OPENAI.path("unheard-of", stream=True)
    with provider.stream("POST", path, json=body) as response:
        for number, _ in enumerate(response.iter_lines()):
            if number > 5:
                break
    bill = wires.bill_when(provider, lambda bill: bill["calls"] == 1)
    provider.put("/_simulator/scenario", json={})
    whole = wires.OPENAI.post(provider, prompt).json()["usage"]["completion_tokens"]
    assert 0 < bill["by_model"]["unheard-of"]["output_tokens"] < whole


def test_a_client_that_leaves_before_its_answer_pays_for_all_of_it(provider: httpx.Client):
    provider.put("/_simulator/scenario", json={"latency_ms": 700}).raise_for_status()
    with pytest.raises(httpx.ReadTimeout):
        provider.post(
            wires.OPENAI.path("tiny"),
            json=wires.OPENAI.body("tiny", "What is 17*23?", 50),
            timeout=0.2,
        )
    bill = wires.bill_when(provider, lambda bill: bill["calls"] == 1)
    assert bill["by_model"]["tiny"]["output_tokens"] == 5
