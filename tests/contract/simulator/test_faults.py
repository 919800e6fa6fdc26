import ast
import json
import time
from email.utils import parsedate_to_datetime

import httpx
import pytest

from tests.contract.simulator import wires
from tests.contract.simulator.wires import WIRES, Wire

each_wire = pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.name)


def order(provider: httpx.Client, *rules: dict, **scenario: object) -> None:
    provider.put("/_simulator/scenario", json={"rules": list(rules)} | scenario).raise_for_status()


def bill(provider: httpx.Client) -> dict:
    return provider.get("/_simulator/bill").json()


def outcomes(provider: httpx.Client) -> dict:
    return provider.get("/_simulator/calls").json()["by_outcome"]


STATUS = {
    "400": 400, "401": 401, "402": 402, "403": 403, "404": 404, "429": 429, "500": 500,
    "503": 503, "504": 504, "529": 529, "insufficient_quota": 429,
}  # fmt: skip


@each_wire
@pytest.mark.parametrize("fault", STATUS)
def test_an_http_error_has_the_vendors_shape_and_is_not_billed(
    provider: httpx.Client, wire: Wire, fault: str
):
    order(provider, {"fault": fault})
    answer = wire.post(provider)
    assert answer.status_code == STATUS[fault]
    body = answer.json()
    assert wire.error_message(body)
    if wire is wires.OPENAI:
        assert set(body["error"]) == {"message", "type", "param", "code"}
    if wire is wires.ANTHROPIC:
        assert body["type"] == "error"
        assert body["request_id"] == answer.headers["request-id"]
    if wire is wires.GEMINI:
        assert body["error"]["code"] == STATUS[fault]
    assert bill(provider)["calls"] == 0


def test_the_kinds_of_error_are_named_as_the_vendors_name_them(provider: httpx.Client):
    order(provider, {"fault": "insufficient_quota"})
    assert wires.OPENAI.post(provider).json()["error"]["code"] == "insufficient_quota"
    details = wires.ANTHROPIC.post(provider).json()["error"]["details"]
    assert details["error_code"] == "enforced_spend_limit_reached"
    assert "limit: 0" in wires.GEMINI.post(provider).json()["error"]["message"]
    order(provider, {"fault": "credit_too_low"})
    answer = wires.ANTHROPIC.post(provider)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert "credit balance is too low" in answer.json()["error"]["message"]
    order(provider, {"fault": "529"})
    assert wires.ANTHROPIC.post(provider).json()["error"]["type"] == "overloaded_error"


def test_a_bad_gateway_answers_in_html(provider: httpx.Client):
    order(provider, {"fault": "502"})
    answer = wires.OPENAI.post(provider)
    assert answer.status_code == 502
    assert answer.headers["content-type"].startswith("text/html")


def test_a_wait_is_told_in_each_dialect(provider: httpx.Client):
    def told(wire: Wire, **rule: object) -> httpx.Response:
        order(provider, {"fault": "429", "retry_after_s": 3.8} | rule)
        return wire.post(provider)

    assert told(wires.OPENAI, dialect="seconds").headers["retry-after"] == "3.8"
    assert told(wires.OPENAI, dialect="ms").headers["retry-after-ms"] == "3800"
    date = parsedate_to_datetime(told(wires.COHERE, dialect="http-date").headers["retry-after"])
    assert 2 <= date.timestamp() - time.time() <= 5
    text = told(wires.OPENAI, dialect="text")
    assert "retry-after" not in text.headers
    assert "try again in 3.8s" in text.json()["error"]["message"]
    gemini = told(wires.GEMINI)
    assert "retry-after" not in gemini.headers
    assert gemini.json()["error"]["details"][-1]["retryDelay"] == "3.8s"
    silent = told(wires.ANTHROPIC, dialect="none")
    assert "retry-after" not in silent.headers
    assert "3.8" not in silent.text


@each_wire
@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_before_billing_closes_the_socket_and_costs_nothing(
    provider: httpx.Client, wire: Wire, stream: bool
):
    order(provider, {"fault": "cut_before"})
    with pytest.raises(httpx.RemoteProtocolError):
        wire.post(provider, stream=stream)
    assert bill(provider)["calls"] == 0


@each_wire
@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_after_billing_breaks_the_body_and_is_on_the_bill(
    provider: httpx.Client, wire: Wire, stream: bool
):
    order(provider, {"fault": "cut_after"})
    with pytest.raises(httpx.RemoteProtocolError):
        wire.post(provider, stream=stream)
    assert bill(provider)["calls"] == 1


@pytest.mark.parametrize("billed", [False, True])
def test_a_hang_never_answers_and_is_billed_as_ordered(provider: httpx.Client, billed: bool):
    order(provider, {"fault": "hang", "billed": billed})
    with pytest.raises(httpx.ReadTimeout), httpx.Client(timeout=0.5) as impatient:
        impatient.post(
            str(provider.base_url) + "/v1/chat/completions",
            json={"model": "m", "messages": [{"role": "user", "content": "hi"}]},
        )
    assert wires.bill_when(provider, lambda bill: bill["calls"] == int(billed))


@each_wire
def test_weak_answers_are_billed_and_told_by_their_finish(provider: httpx.Client, wire: Wire):
    order(provider, {"fault": "weak"})
    hedged = wire.text(wire.post(provider).json())
    assert hedged.startswith(("I'm not sure", "I don't know"))
    order(provider, {"fault": "truncated"})
    cut = wire.post(provider, "Tell me about rivers").json()
    assert wire.finish(cut).lower() in ("length", "max_tokens")
    order(provider, {"fault": "empty"})
    assert wire.text(wire.post(provider).json()) == ""
    assert bill(provider)["calls"] == 3


def test_a_refusal_is_told_in_each_vendors_way(provider: httpx.Client):
    order(provider, {"fault": "refused"})
    form = {"type": "json_object"}
    structured = wires.OPENAI.post(provider, response_format=form).json()["choices"][0]["message"]
    assert structured["content"] is None
    assert structured["refusal"].startswith("I'm sorry")
    assert wires.OPENAI.text(wires.OPENAI.post(provider).json()).startswith("I'm sorry")
    message = wires.ANTHROPIC.post(provider).json()
    assert (message["stop_reason"], message["stop_details"]["type"]) == ("refusal", "refusal")
    assert wires.GEMINI.finish(wires.GEMINI.post(provider).json()) == "SAFETY"
    order(provider, {"fault": "blocked"})
    blocked = wires.GEMINI.post(provider).json()
    assert "candidates" not in blocked
    assert blocked["promptFeedback"] == {"blockReason": "SAFETY"}
    assert bill(provider)["calls"] == 5


def test_bad_code_and_invalid_json_do_not_parse_and_good_ones_do(provider: httpx.Client):
    def text(prompt: str) -> str:
        return wires.OPENAI.text(wires.OPENAI.post(provider, prompt).json())

    def code() -> str:
        answer = text("Write a Python function for the fibonacci numbers")
        return answer.split("```python\n")[1].split("```")[0]

    asked = "Give me JSON with keys name and age"
    ast.parse(code())
    assert list(json.loads(text(asked))) == ["name", "age"]
    order(provider, {"fault": "bad_code"})
    with pytest.raises(SyntaxError):
        ast.parse(code())
    order(provider, {"fault": "invalid_json"})
    with pytest.raises(json.JSONDecodeError):
        json.loads(text(asked))


def test_garbage_is_a_200_that_is_no_json_and_is_billed(provider: httpx.Client):
    order(provider, {"fault": "garbage"})
    answer = wires.OPENAI.post(provider)
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    assert bill(provider)["calls"] == 1


def test_blank_lines_come_before_the_json_and_comments_before_the_stream(
    provider: httpx.Client,
):
    order(provider, {"fault": "blank_lines"}, latency_ms=20)
    answer = wires.OPENAI.post(provider)
    assert answer.text.startswith("\n\n")
    assert wires.OPENAI.text(answer.json()) == "The answer is 391."
    stream = wires.OPENAI.post(provider, stream=True).text
    assert stream.startswith(": keep-alive\n\n")
    assert wires.streamed(wires.OPENAI, stream)[0] == "The answer is 391."


def test_a_slow_rule_delays_the_answer(provider: httpx.Client):
    order(provider, {"fault": "slow", "latency_ms": 300})
    begun = time.monotonic()
    assert wires.OPENAI.post(provider).status_code == 200
    assert time.monotonic() - begun >= 0.3


def test_the_first_rule_that_applies_wins_and_times_uses_it_up(provider: httpx.Client):
    order(
        provider,
        {"match": {"model": "large*"}, "fault": "none"},
        {"match": {"wire": "openai", "contains": "17*23"}, "fault": "503", "times": 2},
        {"match": {"wire": "anthropic", "key": "*-abcd", "path": "/anthropic/*"}, "fault": "529"},
        {"match": {"wire": "cohere", "key": "other"}, "fault": "500"},
    )
    statuses = [wires.OPENAI.post(provider).status_code for _ in range(3)]
    assert statuses == [503, 503, 200]
    assert wires.OPENAI.post(provider, model="large-upstream").status_code == 200
    assert wires.ANTHROPIC.post(provider).status_code == 529
    assert wires.COHERE.post(provider).status_code == 200
    assert outcomes(provider) == {"unavailable": 2, "answered": 3, "overloaded": 1}


def test_a_share_strikes_the_same_calls_in_every_run(provider: httpx.Client):
    def run() -> list[int]:
        order(provider, {"fault": "500", "share": 0.3}, seed=11)
        prompts = [f"question {number % 40}" for number in range(80)]
        return [wires.OPENAI.post(provider, prompt).status_code for prompt in prompts]

    first = run()
    assert run() == first
    assert 8 <= first.count(500) <= 40
    assert first[:40] != first[40:], "the second call of a prompt draws anew"


def test_keys_can_be_required(provider: httpx.Client):
    order(provider, require_key=True)
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    refused = provider.post("/v1/chat/completions", json=body)
    assert refused.json()["error"]["code"] == "invalid_api_key"
    assert wires.OPENAI.post(provider).status_code == 200


def test_limits_refuse_per_key_and_the_headers_tell_the_truth(provider: httpx.Client):
    order(provider, limits=[{"match": {"wire": "openai"}, "rpm": 3, "tpm": 100_000}])
    left = [wires.OPENAI.post(provider).headers["x-ratelimit-remaining-requests"] for _ in range(3)]
    assert left == ["2", "1", "0"]
    refused = wires.OPENAI.post(provider)
    assert refused.status_code == 429
    assert refused.headers["x-ratelimit-limit-requests"] == "3"
    assert 15 <= float(refused.headers["retry-after"]) <= 20
    assert "requests per min (RPM): Limit 3, Used 3" in refused.json()["error"]["message"]
    headers = {"authorization": "Bearer another-key"}
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    other = provider.post("/v1/chat/completions", json=body, headers=headers)
    assert other.status_code == 200
    assert wires.ANTHROPIC.post(provider).status_code == 200
    assert bill(provider)["calls"] == 5


def test_the_token_limit_counts_what_was_used_not_what_was_asked_for(provider: httpx.Client):
    order(provider, limits=[{"match": {"wire": "anthropic"}, "tpm": 600}])
    answers = [wires.ANTHROPIC.post(provider, max_tokens=500) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert answers[0].headers["anthropic-ratelimit-tokens-limit"] == "600"
    assert answers[0].headers["anthropic-ratelimit-tokens-reset"].endswith("Z")
    refused = wires.ANTHROPIC.post(provider, max_tokens=599)
    assert refused.status_code == 429
    assert refused.json()["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"rules": [{"fault": "explode"}]}, "rules[0].fault"),
        ({"rules": [{"match": {"wire": "telex"}, "fault": "429"}]}, "rules[0].match.wire"),
        ({"rules": [{"fault": "429", "share": 2}]}, "rules[0].share"),
        ({"rules": [{}]}, "rules[0].fault"),
        ({"latencyms": 3}, "latencyms"),
        ({"latency_ms": {"median": 100, "p95": 50}}, "latency_ms"),
        ({"usage": {"cached_share": 0.8, "cache_write_share": 0.8}}, "usage"),
        ({"limits": [{"rpm": 0}]}, "limits[0]"),
        ([], "the document"),
    ],
)
def test_a_bad_scenario_is_refused_naming_the_place(
    provider: httpx.Client, document: object, place: str
):
    answer = provider.put("/_simulator/scenario", json=document)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(place)
    assert provider.get("/_simulator/scenario").json() == {}
