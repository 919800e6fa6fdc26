"""The client against a real HTTP server that misbehaves as it is told."""

import io
import json
import tracemalloc
from pathlib import Path

import pytest

from producer.client import ApiError, HeldError, Promptmill, UnreachableError, sync
from tests.integration.client.scripted_api import BREAK_OFF, Answer, ScriptedApi, batch


def test_a_submission_that_breaks_off_is_sent_again_under_the_same_key(
    api: ScriptedApi, mill: Promptmill
) -> None:
    api.on("POST", "/v1/batches", BREAK_OFF, api.error(503, "unavailable", "wait"), batch(queued=2))
    submitted = mill.submit([{"prompt": "a"}, '{"prompt": "b"}'], max_cost_usd="0.5")
    assert submitted.id == "batch_1"
    assert submitted.counts.queued == 2
    assert len(api.asked) == 3
    assert len({asked.headers["idempotency-key"] for asked in api.asked}) == 1
    assert {asked.body for asked in api.asked} == {b'{"prompt":"a"}\n{"prompt": "b"}\n'}
    assert api.asked[-1].query == {"max_cost_usd": "0.5"}
    assert api.asked[-1].headers["authorization"] == "Bearer pm_test"
    assert api.asked[-1].headers["content-type"] == "application/x-ndjson"


def test_a_key_is_not_made_twice_because_an_answer_was_lost(
    api: ScriptedApi, mill: Promptmill
) -> None:
    api.on("POST", "/v1/keys", BREAK_OFF, {"id": "key_1", "key": "pm_x"})
    with pytest.raises(UnreachableError):
        mill.create_key(project="p")
    assert len(api.asked) == 1


def test_a_refusal_is_not_repeated_and_carries_its_reason(
    api: ScriptedApi, mill: Promptmill
) -> None:
    api.on("POST", "/v1/batches", api.error(503, "draining", "going down", x_should_retry="false"))
    with pytest.raises(ApiError) as caught:
        mill.submit([{"prompt": "a"}])
    assert (caught.value.status, caught.value.code) == (503, "draining")
    assert caught.value.request_id == "req_1"
    assert len(api.asked) == 1


def test_nobody_listening_is_an_error_that_says_what_to_do(api: ScriptedApi) -> None:
    url = api.url
    api.on("GET", "/v1/budget", {})
    closed = ScriptedApi()
    nowhere = closed.url
    closed.close()
    assert nowhere != url
    with Promptmill(nowhere, "k") as mill, pytest.raises(UnreachableError, match="promptmill up"):
        mill.budget()


def test_results_are_read_page_by_page_in_order(api: ScriptedApi, mill: Promptmill) -> None:
    lines = [{"line": n, "text": f"answer\u2028{n}"} for n in (1, 2, 4, 5, 9)]
    pages = [lines[:2], lines[2:4], lines[4:]]
    for page in pages:
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in page)
        api.on("GET", "/v1/batches/batch_1/results", Answer(text.encode()))
    assert list(mill.results("batch_1", page=2)) == lines
    assert [asked.query["after"] for asked in api.asked] == ["0", "2", "5"]


def test_lists_follow_their_cursor_to_the_end(api: ScriptedApi, mill: Promptmill) -> None:
    first = {"data": [{"id": "a"}, {"id": "b"}], "has_more": True, "last_id": "b"}
    api.on("GET", "/v1/projects", first, {"data": [{"id": "c"}], "has_more": False})
    assert [project["id"] for project in mill.projects()] == ["a", "b", "c"]
    assert api.asked[1].query == {"after": "b"}


def test_waiting_reports_every_look_and_ends_with_the_batch(
    api: ScriptedApi, mill: Promptmill
) -> None:
    api.on(
        "GET",
        "/v1/batches/batch_1",
        batch("validating"),
        batch(queued=1, running=1),
        batch(running=1, completed=1),
        batch("completed", completed=2),
    )
    seen: list[int] = []
    ended = mill.wait("batch_1", lambda each: seen.append(each.counts.completed))
    assert ended.status == "completed"
    assert seen == [0, 0, 1, 2]


def test_waiting_ends_where_only_money_would_move_anything(
    api: ScriptedApi, mill: Promptmill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "HELD_PATIENCE_S", 0.1)
    api.on("GET", "/v1/batches/batch_1", batch(completed=1, held=2))
    assert mill.wait("batch_1").counts.held == 2


def test_waiting_through_a_hold_ends_with_the_batch(
    api: ScriptedApi, mill: Promptmill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "HELD_PATIENCE_S", 0.0)
    held = batch(held=2)
    api.on("GET", "/v1/batches/batch_1", held, held, batch("completed", completed=2))
    assert mill.wait("batch_1", through_holds=True).status == "completed"


def test_a_question_the_budget_cannot_carry_is_called_off(
    api: ScriptedApi, mill: Promptmill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "HELD_PATIENCE_S", 0.0)
    api.on("POST", "/v1/batches", batch(queued=1))
    api.on("GET", "/v1/batches/batch_1", batch(held=1))
    api.on("POST", "/v1/batches/batch_1/cancel", batch("cancelled", cancelled=1))
    with pytest.raises(HeldError, match="budget"):
        mill.ask("why?")
    assert api.asked[-1].path.endswith("/cancel")
    assert api.asked[0].query == {"priority": "interactive", "strict": "true"}


def test_a_large_file_is_never_held_in_memory(
    api: ScriptedApi, mill: Promptmill, tmp_path: Path
) -> None:
    size = 64 * 1024 * 1024
    file = tmp_path / "large.jsonl"
    with file.open("wb") as out:
        out.truncate(size)
    api.on("POST", "/v1/batches", batch(queued=1))
    tracemalloc.start()
    try:
        mill.submit(file)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert api.asked[0].headers["content-length"] == str(size)
    assert peak < 16 * 1024 * 1024


def test_standard_input_is_read_once_and_can_still_be_sent_again(
    api: ScriptedApi, mill: Promptmill
) -> None:
    class OnlyOnce(io.BytesIO):
        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation("a pipe cannot go back")

    api.on("POST", "/v1/batches", BREAK_OFF, batch(queued=1))
    mill.submit(OnlyOnce(b'{"prompt": "a"}'))
    assert [asked.body for asked in api.asked] == [b'{"prompt": "a"}'] * 2
