"""A new batch: upload a file, see what it might cost, start it."""

from typing import Any, Final

from fastapi import Request
from nicegui import ui
from nicegui.events import GenericEventArguments

from producer.accounts.access import Right
from producer.console.desk import Desk, desk_of
from producer.console.figures import exactly, money, number, span
from producer.console.layout import Figure, ask, attempt, button, card, frame, part, words
from producer.console.session import ROOT
from producer.console.tables import Column, Rows
from shared.errors import AccessError

# The file goes as the body of one request, past the page's websocket, and is never held whole.
_SCRIPT: Final = """
function pmUpload(input) {
  const file = input.files[0];
  if (!file) return;
  const say = text => document.getElementById("pm-state").textContent = text;
  const request = new XMLHttpRequest();
  request.upload.onprogress = event => say(
    "Uploading " + file.name + ": " + Math.round(100 * event.loaded / event.total) + " %");
  request.onload = () => {
    let answer = {};
    try { answer = JSON.parse(request.responseText); } catch { /* not ours: told below */ }
    if (request.status === 200) {
      say(file.name + " is here.");
      emitEvent("uploaded", { id: answer.id, name: file.name });
    } else {
      say("Not taken: " + (answer.error ? answer.error.message : request.statusText));
    }
    input.value = "";
  };
  request.onerror = () => say("The connection broke; choose the file again.");
  request.open("POST", "{root}/upload?name=" + encodeURIComponent(file.name));
  request.send(file);
}
"""


@ui.page("/upload")
async def show(request: Request) -> None:
    """The three steps."""
    desk = desk_of(request)
    with frame(desk, "New batch", "New batch"):
        if not desk.may(Right.SUBMIT):
            raise AccessError("this key may look but not submit", known=True)
        ui.add_body_html("<script>" + _SCRIPT.replace("{root}", ROOT) + "</script>")
        with card("1. Choose a file"):
            words(
                "p",
                "JSON lines: native lines, OpenAI batch lines, or both in one file. Lines that are "
                "not valid are named afterwards; the good ones run.",
                "pm-soft",
            )
            with part("label", "pm-label"):
                words("span", "File (.jsonl)")
                part("input").props(
                    'type=file accept=".jsonl,.ndjson" onchange="pmUpload(this)" data-test=file'
                )
            words("p", "", "pm-soft").props("id=pm-state role=status")
        steps = part("div")

        async def planned(event: GenericEventArguments) -> None:
            steps.clear()
            with steps:
                await attempt(lambda: _plan(desk, event.args["id"], event.args["name"]))

        ui.on("uploaded", planned)


async def _plan(desk: Desk, file_id: str, name: str) -> None:
    plan = await ask(desk.plan, str(file_id))
    with card("2. What it might cost"):
        _figures(plan)
        models = Rows("Models", (Column("model", "Model"), Column("jobs", "Jobs", "number")))
        models.show(
            [
                {"id": row["model"], "model": row["model"], "jobs": number(row["jobs"])}
                for row in plan["models"]
            ]
        )
        words("p", "An estimate; a cap is a promise.", "pm-soft")
    with card("3. Start it"):
        with part("div", "pm-row"):
            title = ui.input("Name", value=str(name)[:255])
            cap = ui.input("Cap in USD (none)").props("inputmode=decimal")
            window = ui.input("Must end within", value="24h")
        button(
            "Start the batch",
            lambda: attempt(
                lambda: _start(desk, str(file_id), title.value, cap.value, window.value)
            ),
            "pm-first",
        ).props("data-test=start")


def _figures(plan: dict[str, Any]) -> None:
    cost = plan["cost_nusd"]
    with part("div", "pm-figures"):
        Figure("Lines", number(plan["lines"]))
        Figure("Not valid", number(plan["rejected"]))
        Figure("Asked once for several", number(plan["duplicates"]))
        Figure("Likely cost", money(cost["p50"]), exactly(cost["p50"]))
        Figure("95 of 100 times below", money(cost["p95"]), exactly(cost["p95"]))
        Figure("Worst case", money(cost["worst"]), exactly(cost["worst"]))
        Figure("Takes about", span(plan["seconds"]))


async def _start(desk: Desk, file_id: str, name: str, cap: str, window: str) -> None:
    body = {
        "input_file_id": file_id,
        "endpoint": "/v1/chat/completions",
        "completion_window": window.strip(),
        "partial": True,
        "name": name.strip() or None,
        "max_cost_usd": cap.strip() or None,
    }
    batch = await ask(desk.start, body)
    ui.navigate.to(f"/batches/{batch['id']}")  # NiceGUI puts the console's root before it
