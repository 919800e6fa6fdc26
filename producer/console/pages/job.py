"""One job's story: its prompt, how it was classified and routed, every attempt with its verdict and
cost, and its answer.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from fastapi import Request
from nicegui import ui

from producer.console.desk import Desk, desk_of
from producer.console.figures import (
    NOTHING,
    clock,
    exactly,
    money,
    money_cell,
    number,
    span,
    tokens_cell,
)
from producer.console.layout import Figure, ask, card, facts, frame, link, part, words
from producer.console.pages.feedback import show_feedback
from producer.console.session import ROOT
from producer.console.tables import Column, Row, Rows, badge
from shared.deciding.agreement import JUDGE as AGREEMENT
from shared.deciding.trials import Arm
from shared.domain.attempt import Purpose
from shared.domain.job import batch_number_of, job_id_of, parse_job_id, public_job_id

_LONGEST: Final = 20_000


@ui.page("/jobs/{job_id}")
async def show(request: Request, job_id: str) -> None:
    """The story as it stands."""
    desk = desk_of(request)
    with frame(desk, "Job", "Batches"):
        story = await ask(desk.job, job_id)
        with part("p", "pm-soft"):
            link(f"Batch {story['batch_id']}", f"{ROOT}/batches/{story['batch_id']}")
            words("span", f" · line {story['line']} · {story['custom_id'] or story['id']}")
        _figures(story)
        with part("div", "pm-grid"):
            with card("Prompt"):
                _prompt(story["request"])
            with card("Answer"):
                _answer(story)
                show_feedback(desk, story)
        with part("div", "pm-grid"):
            with card("Classification"):
                _classification(story)
            with card("Route"):
                _route(story)
        with card("Attempts"):
            Rows("Attempts", _ATTEMPTS, "None was made for this job.").show(
                [_attempt(desk, each) for each in story["attempts"]]
            )
        with card("What happened when"):
            _events(desk, story["events"])


def _figures(story: Mapping[str, Any]) -> None:
    result = story["result"] or {}
    if result.get("duplicate_of"):
        with part("p", "pm-note"):
            words("span", "It asks the same as an earlier line, so nothing was paid for it: ")
            first = public_job_id(_beside(story["id"], result["duplicate_of"]))
            link(f"line {result['duplicate_of']}", f"{ROOT}/jobs/{first}")
    with part("div", "pm-figures"):
        Figure("Status", story["status"])
        Figure("Model", result.get("model") or NOTHING, under_of(result))
        Figure("Cost", money(story["cost_nusd"]), exactly(story["cost_nusd"]))
        Figure("Attempts", number(len(story["attempts"])))
        Figure("Took", span(_took(story["attempts"])), "from the first attempt to the last")
        Figure("Climbed", "yes" if result.get("escalated") else "no")


def _beside(job_id: str, line: int) -> int:
    """Another line of the same batch."""
    return job_id_of(batch_number_of(parse_job_id(job_id) or 0), line)


def _took(attempts: Sequence[Mapping[str, Any]]) -> float | None:
    ends = [each["ended_at"] for each in attempts if each["ended_at"] is not None]
    return max(ends) - min(each["started_at"] for each in attempts) if ends else None


def under_of(result: Mapping[str, Any]) -> str:
    """Where an answer came from."""
    named = [str(result[name]) for name in ("provider", "tier") if result.get(name)]
    return ", ".join(named) + (" (from the cache)" if result.get("cached") else "")


def _prompt(request: Mapping[str, Any] | None) -> None:
    if request is None:
        words("p", "The line was refused, so there is no request.", "pm-soft")
        return
    for message in request.get("messages") or []:
        words("div", str(message.get("role", "")), "pm-name")
        _text(_said(message.get("content")))
    rest = {
        name: value
        for name, value in request.items()
        if name != "messages" and value not in (None, {}, [])
    }
    _code(rest)


def _said(content: object) -> str:
    if isinstance(content, str):
        return content
    return orjson.dumps(content, option=orjson.OPT_INDENT_2).decode()


def _answer(story: Mapping[str, Any]) -> None:
    result = story["result"]
    if result is None:
        waiting = story["waiting"] or {}
        words("p", f"It is {story['status']}.")
        if waiting.get("reason"):
            words("p", str(waiting["reason"]))
        if waiting.get("held_scope"):
            need = money(waiting["need_nusd"])
            words("p", f"The limit {waiting['held_scope']} holds it; it may need {need}.")
    elif result["error"] is not None:
        error = result["error"]
        words("p", f"{error['code']}: {error['message']}", "pm-problem")
    elif result["text"] is None:
        _code(result["response"])
    else:
        _text(result["text"])


def _classification(story: Mapping[str, Any]) -> None:
    found = story["classification"]
    if found is None:
        words("p", "Not classified (yet).", "pm-soft")
        return
    level = found.get("level")
    known = {
        "Task type": str(found.get("task_type", NOTHING)).replace("_", " "),
        "Difficulty": f"{found.get('difficulty', 0):.2f}" + (f" ({level})" if level else ""),
        "Confidence": f"{found.get('confidence', 0):.2f}",
    }
    facts(known)
    _list(found.get("reasons") or [])


def _route(story: Mapping[str, Any]) -> None:
    refused, route = story["no_route"], story["route"]
    if refused:
        words("p", f"{refused.get('code')}: {refused.get('message')}", "pm-problem")
    if not route:
        words("p", "Not routed (yet).", "pm-soft")
        return
    ladder(route.get("ladder") or [])
    _list([*(route.get("reasons") or []), *story["notes"]])
    if story["trial"]:
        arm = "the tried policy" if story["trial"]["arm"] == Arm.B else "the project's own policy"
        words("p", f"Trial {story['trial']['name']}: by {arm}.", "pm-soft")


def ladder(rungs: Sequence[Any]) -> None:
    """The rungs of a route, the first model first."""
    with part("ol", "pm-list").props('aria-label="Ladder"'):
        for rung in rungs:
            words("li", _rung(rung))


def _rung(rung: Any) -> str:
    if not isinstance(rung, Mapping):
        return str(rung)
    models = ", then ".join(map(str, rung.get("models") or [rung.get("model")]))
    return f"{rung.get('tier')}: {models}"


_ATTEMPTS: Final = (
    Column("attempt", "Attempt"),
    Column("model", "Model"),
    Column("status", "Status"),
    Column("verdict", "Verdict or error"),
    Column("tokens", "Tokens", "number"),
    Column("took", "Took", "number"),
    Column("reserved", "Reserved", "number"),
    Column("cost", "Cost", "number"),
)


def _attempt(desk: Desk, row: Mapping[str, Any]) -> Row:
    took = None if row["ended_at"] is None else row["ended_at"] - row["started_at"]
    return {
        "id": row["id"],
        "attempt": {
            "text": f"{row['ordinal']} · {_purpose(row)}",
            "sub": clock(row["started_at"], desk.reader.zone),
        },
        "model": {"text": row["model"], "sub": f"{row['provider']}, {row['tier']}"},
        "status": badge(row["status"]),
        "verdict": _verdict(row),
        "tokens": tokens_cell(row),
        "took": span(took),
        "reserved": money_cell(row["reserved_nusd"]),
        "cost": money_cell(row["cost_nusd"]),
    }


def _purpose(row: Mapping[str, Any]) -> str:
    """What a call was for; a judge's by how it judges."""
    judge = row["verdict"].get("judge") if isinstance(row["verdict"], Mapping) else None
    if row["purpose"] == Purpose.JUDGE:
        return "second opinion" if judge == AGREEMENT else "judge"
    return {Purpose.ANSWER: "answer", Purpose.CLASSIFY: "classification"}[row["purpose"]]


def _verdict(row: Mapping[str, Any]) -> str:
    if row["error"]:
        return f"{row['error']['kind']}: {row['error']['message'] or ''}"
    verdict = row["verdict"]
    if not isinstance(verdict, Mapping):
        return NOTHING
    said = "accepted" if verdict["accepted"] else "not accepted"
    reasons = "; ".join(map(str, verdict.get("reasons") or []))
    told = f"{said} by {verdict.get('judge')}, {verdict['score']:.2f}"
    return f"{told}: {reasons}" if reasons else told


def _events(desk: Desk, events: Sequence[Mapping[str, Any]]) -> None:
    with part("ol", "pm-list"):
        for event in events:
            about = event.get("model") or ""
            words("li", f"{clock(event['at'], desk.reader.zone)}  {event['type']}  {about}")


def _list(reasons: Sequence[Any]) -> None:
    if reasons:
        with part("ul", "pm-list"):
            for reason in reasons:
                words("li", str(reason))


def _text(text: str) -> None:
    shown = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n… ({len(text):,} characters)"
    words("div", shown, "pm-text").props("tabindex=0")


def _code(value: object) -> None:
    if value:
        text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
        words("div", text[:_LONGEST], "pm-text pm-code").props("tabindex=0")
