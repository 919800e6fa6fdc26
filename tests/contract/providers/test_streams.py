"""The four wires' streams against the simulator as a process, and what breaks them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from shared.catalog.pricing import cost_nusd
from shared.domain.inference import JsonObject
from tests.contract.providers.raw_server import raw_server
from tests.contract.providers.test_against_simulator import PRICES, WIRES
from tests.servers.simulator import SimulatorServer
from tests.servers.waiting import wait_for
from tests.unit.providers.specs import ask, catalog_of, model_of, provider_of
from worker.providers.caller import ModelCaller
from worker.providers.errors import HungUp, MaybeBilled, ProviderError, RequestRefused

STORY = "Tell me a story about a lighthouse."
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


class Ear:
    """A listener that leaves after so many characters; never where that is None."""

    def __init__(self, leaves_after: int | None = None) -> None:
        self.choices: list[JsonObject] = []
        self._leaves_after = leaves_after
        self._gone = asyncio.Event()

    def say(self, choices: Sequence[JsonObject]) -> None:
        self.choices.extend(choices)
        if self._leaves_after is not None and len(self.text) > self._leaves_after:
            self._gone.set()

    async def until_gone(self) -> None:
        await self._gone.wait()

    @property
    def text(self) -> str:
        return "".join(choice["delta"].get("content") or "" for choice in self.choices)


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> str:
    return str(request.param)


Make = Callable[..., ModelCaller]


@pytest.fixture
async def make(wire: str, simulator: SimulatorServer, redis: Redis) -> AsyncIterator[Make]:
    simulator.set_prices(PRICES)
    made: list[ModelCaller] = []

    def caller(**changes: Any) -> ModelCaller:
        version = "/v1" if wire == "openai" else ""
        provider = provider_of(wire, f"{simulator.url}/{wire}{version}", timeout_s=10.0)
        catalog = catalog_of(provider, model_of(**changes))
        made.append(ModelCaller.over(catalog, {"acme": ("test-key-1",)}, redis))
        return made[-1]

    yield caller
    for each in made:
        await each.aclose()


async def call(caller: ModelCaller, text: str, ear: Ear, *, limit: int = 200, **fields: Any):
    prepared = caller.prepare("small", ask(text, **fields), limit)
    completion = await caller.send(prepared, await caller.admit(prepared), ear)
    return completion, cost_nusd(prepared.model.price, completion.usage)


async def provider_has_noticed(simulator: SimulatorServer) -> None:
    await asyncio.to_thread(wait_for, lambda: simulator.bill()["calls"], "the call is billed")


async def test_a_stream_adds_up_to_the_plain_answer_and_costs_what_is_billed(
    make: Make, simulator: SimulatorServer
):
    caller, ear = make(), Ear()
    plain, cost = await call(caller, STORY, Ear())
    streamed, streamed_cost = await call(caller, STORY, ear, stream=True)

    assert streamed.text == plain.text == ear.text
    assert streamed.finish_reason == plain.finish_reason
    assert streamed.usage == plain.usage
    assert streamed.body["choices"] == [
        {**choice, "message": {k: v for k, v in choice["message"].items() if k != "annotations"}}
        for choice in plain.body["choices"]
    ]
    assert streamed.body["object"] == "chat.completion"
    assert ear.choices[0]["delta"]["role"] == "assistant"
    assert [c["finish_reason"] for c in ear.choices if c["finish_reason"]] == ["stop"]
    assert streamed_cost == cost
    assert simulator.bill()["total_nusd"] == 2 * cost


async def test_a_streamed_tool_call_is_whole_at_the_end(make: Make):
    fields = {"stream": True, "extras": {"tools": [TOOL], "tool_choice": "required"}}
    completion, _ = await call(make(), "Where?", Ear(), **fields)
    (tool_call,) = completion.body["choices"][0]["message"]["tool_calls"]
    assert tool_call["function"]["name"] == "look_up"
    assert isinstance(orjson.loads(tool_call["function"]["arguments"]), dict)
    assert completion.has_tool_calls


async def test_caching_and_reasoning_are_counted_in_a_stream(
    make: Make, simulator: SimulatorServer
):
    usage = {"cached_share": 0.5, "cache_write_share": 0.25, "reasoning_tokens": 7}
    simulator.set_scenario({"latency_ms": 0, "usage": usage})
    _, cost = await call(make(), "Tell me about rivers. " * 20, Ear(), stream=True)
    assert simulator.bill()["total_nusd"] == cost


@pytest.mark.parametrize("fault", ["refused", "truncated", "empty"])
async def test_a_weak_answer_ends_a_stream_as_it_ends_a_plain_call(
    make: Make, simulator: SimulatorServer, fault: str
):
    simulator.set_scenario({"latency_ms": 0, "rules": [{"match": {}, "fault": fault}]})
    caller = make()
    plain, cost = await call(caller, STORY, Ear())
    streamed, streamed_cost = await call(caller, STORY, Ear(), stream=True)
    assert (streamed.finish_reason, streamed_cost) == (plain.finish_reason, cost)
    assert bool(streamed.refusal) == bool(plain.refusal)


async def test_a_cut_stream_may_have_been_billed(make: Make, simulator: SimulatorServer):
    simulator.set_scenario({"latency_ms": 0, "rules": [{"match": {}, "fault": "cut_after"}]})
    ear = Ear()
    with pytest.raises(MaybeBilled) as caught:
        await call(make(), STORY, ear, stream=True)
    assert caught.value.kind in ("stream_cut", "connection_lost")
    assert caught.value.billed is None
    assert ear.text
    assert simulator.bill()["calls"] == 1


async def test_an_error_before_the_stream_is_an_error_like_any_other(
    make: Make, simulator: SimulatorServer
):
    simulator.set_scenario({"rules": [{"match": {}, "fault": "400"}]})
    with pytest.raises(RequestRefused):
        await call(make(), STORY, Ear(), stream=True)
    assert simulator.bill()["calls"] == 0


async def test_a_listener_that_leaves_cuts_the_call_and_bounds_what_it_used(
    make: Make, simulator: SimulatorServer
):
    simulator.set_scenario({"latency_ms": 3000})
    caller, ear = make(), Ear(leaves_after=20)
    prepared = caller.prepare("small", ask(STORY, stream=True), 4000)
    with pytest.raises(HungUp) as caught:
        await caller.send(prepared, await caller.admit(prepared), ear)
    billed = caught.value.billed
    assert billed is not None
    counted = cost_nusd(prepared.model.price, billed)
    await provider_has_noticed(simulator)
    assert simulator.bill()["total_nusd"] <= counted < prepared.worst_case_nusd / 4
    await caller.aclose()


async def test_nothing_is_counted_for_a_model_that_may_think_unseen(
    make: Make, simulator: SimulatorServer
):
    simulator.set_scenario({"latency_ms": 1000})
    with pytest.raises(HungUp) as caught:
        await call(make(capabilities=frozenset({"json"})), STORY, Ear(20), stream=True)
    assert caught.value.billed is None
    await provider_has_noticed(simulator)


async def test_keep_alive_comments_are_no_answer(make: Make, simulator: SimulatorServer):
    simulator.set_scenario({"latency_ms": 0, "rules": [{"match": {}, "fault": "blank_lines"}]})
    completion, cost = await call(make(), STORY, Ear(), stream=True)
    assert completion.text
    assert simulator.bill()["total_nusd"] == cost


_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\nconnection: close\r\n\r\n"
_BROKEN = {
    "openai": [
        b'data: {"choices": [{"delta": {"content": "a"}}]}\n\ndata: {"error": {"message": ""}}\n\n',
        b'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": "odd"}]}\n\n',
        b'data: {"choices": [{"delta": {"content": "a"}, "finish_reason": "stop"}]}\n\n',
    ],
    "anthropic": [
        b'event: error\ndata: {"type": "error", "error": {"type": "overloaded_error"}}\n\n',
        b'data: {"type": "content_block_delta"}\n\n',
        b'data: {"type": "message_start", "message": {"usage": {"input_tokens": -1}}}\n\n',
    ],
    "gemini": [
        b'data: {"candidates": [{"finishReason": "OTHER", "index": 0}]}\n\n',
        b'data: {"error": {"message": "x"}}\n\n',
        b'data: {"candidates": [{"content": {"parts": [{"text": "a"}]}, "index": 0}]}\n\n',
    ],
    "cohere": [
        b'data: {"type": "message-end", "delta": {"finish_reason": "ERROR"}}\n\n',
        b'data: {"type": "tool-call-delta", "index": 3}\n\n',
        b'data: {"type": "message-start", "id": "x"}\n\n',
    ],
}


@pytest.mark.parametrize("stream", [b"", b"data: nonsense\n\n", b"data: []\n\n", 0, 1, 2])
async def test_what_is_no_whole_answer_may_have_been_billed(
    wire: str, redis: Redis, stream: bytes | int
):
    body = _BROKEN[wire][stream] if isinstance(stream, int) else stream

    async def behaviour(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_HEAD % b"text/event-stream" + body)
        await writer.drain()
        writer.close()

    async with raw_server(behaviour) as server:
        catalog = catalog_of(provider_of(wire, server.url), model_of())
        caller = ModelCaller.over(catalog, {"acme": ("k",)}, redis)
        with pytest.raises(ProviderError) as caught:
            await call(caller, STORY, Ear(), stream=True)
        await caller.aclose()
    assert isinstance(caught.value, MaybeBilled)


async def test_a_host_that_does_not_stream_is_heard_all_the_same(redis: Redis):
    answer = {
        "id": "x",
        "choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2},
    }

    async def behaviour(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_HEAD % b"application/json" + orjson.dumps(answer))
        await writer.drain()
        writer.close()

    ear = Ear()
    async with raw_server(behaviour) as server:
        caller = ModelCaller.over(
            catalog_of(provider_of("openai", server.url)), {"acme": ("k",)}, redis
        )
        completion, _ = await call(caller, "Hi", ear, stream=True)
        await caller.aclose()
    assert completion.text == ear.text == "Hello."
    assert ear.choices[0]["finish_reason"] == "stop"
