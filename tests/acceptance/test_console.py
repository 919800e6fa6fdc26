"""The console in a real browser: what a person does there, from logging in to redelivering."""

import json
import re
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.browser import ZONE, Look, looking, running_browser
from tests.acceptance.conftest import Hooks
from tests.acceptance.whole_mill import ROOT, WholeMill

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("running_mill", ["embedded"], indirect=True),
]

HOSTILE = '<img src=x onerror="window.pwned=1">{{ 7 * 7 }}'
SAMPLE = ROOT / "producer" / "samples" / "demo.jsonl"
PLACES = ("/", "/upload", "/requests", "/costs", "/budgets", "/alerts", "/providers", "/learning",
          "/webhooks", "/try", "/compare")  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


def test_a_person_logs_in_runs_a_file_reads_its_story_sets_a_budget_and_redelivers(
    mill: WholeMill, hooks: Hooks, browser: Browser, tmp_path: Path
) -> None:
    project = f"almanac-{uuid.uuid4().hex[:4]}"
    mill.http.post("/v1/projects", json={"name": project}).raise_for_status()
    made = mill.http.post("/v1/keys", json={"project": project, "scopes": ["submit", "admin"]})
    key = made.raise_for_status().json()["key"]
    hook = {"url": hooks.url, "name": "warehouse", "project": project}
    endpoint = mill.http.post("/v1/webhook_endpoints", json=hook).raise_for_status().json()["id"]
    trial = {"project": project, "name": "no-climbs", "policy": {"max_climbs": 0}}
    mill.http.post("/v1/routing/trial", json=trial).raise_for_status()
    with looking(browser, str(mill.http.base_url).rstrip("/")) as look:
        log_in(look, key)
        batch_id = run_a_file(look, tmp_path, "harvest")
        read_the_figures(look, mill, batch_id)
        read_a_story(look, mill, batch_id)
        look_at_what_is_learned(look, mill, project)
        try_and_compare(look)
        set_a_budget(look, mill, project)
        redeliver(look, hooks, endpoint)
        on_a_phone_and_in_the_dark(look, batch_id)
        assert look.page.evaluate("window.pwned") is None
        look.page.get_by_role("button", name="Log out").click()
        expect(look.page.get_by_label("API key")).to_be_visible()
        look.page.goto(f"{look.base_url}/console/costs")
        expect(look.page.get_by_label("API key")).to_be_visible()


def log_in(look: Look, key: str) -> None:
    page = look.page
    look.unwell_expected = True  # the browser notes the refusal's 403 as an error
    page.goto(f"{look.base_url}/console/batches/batch_nobodys")
    page.get_by_label("API key").fill("pm_not_a_key")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not known here")
    look.unwell_expected = False
    page.get_by_label("API key").fill(key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("no such batch")  # where it wanted to go
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()


def run_a_file(look: Look, folder: Path, name: str) -> str:
    """Upload, see the plan, start, watch to the end without touching anything; the batch's id."""
    page = look.page
    hostile = json.dumps({"prompt": f"Say this: {HOSTILE}", "custom_id": HOSTILE})
    lines = [*SAMPLE.read_text().splitlines()[:22], hostile, "no line"]
    path = folder / f"{name}.jsonl"
    path.write_text("\n".join(lines))
    page.get_by_role("link", name="New batch").click()
    page.get_by_label("File (.jsonl)").set_input_files(path)
    expect(page.get_by_role("heading", name="2. What it might cost")).to_be_visible()
    expect(page.locator(".pm-figure", has_text="Not valid")).to_contain_text("1")
    look.picture("console-plan")
    page.get_by_label("Cap in USD").fill("1")
    page.get_by_role("button", name="Start the batch").click()
    page.wait_for_url(re.compile("/console/batches/batch_"))
    expect(page.locator("[data-test=status]")).to_have_text("completed")
    return page.url.rpartition("/")[2]


def read_the_figures(look: Look, mill: WholeMill, batch_id: str) -> None:
    """They agree with the API's to the nano-dollar."""
    page = look.page
    page.reload()
    report = mill.http.get(f"/v1/batches/{batch_id}/report").raise_for_status().json()
    total = page.locator(".pm-figure", has_text="Cost so far").locator(".pm-value")
    expect(total).to_have_attribute("data-nusd", str(report["total_cost_nusd"]))
    models = page.locator("section", has_text="Model mix").locator("td [data-nusd]")
    expect(models).to_have_count(len(report["by_model"]))
    shown = [int(cell.get_attribute("data-nusd") or 0) for cell in models.all()]
    assert shown == [row["cost_nusd"] for row in report["by_model"]]
    assert sum(shown) == report["total_cost_nusd"] > 0
    expect(page.locator("section", has_text="Errors")).to_contain_text("invalid_json")
    look.picture("console-batch")
    look.open("/costs")
    spent = page.locator(".pm-figure", has_text="Cost of the period").locator(".pm-value")
    expect(spent).to_have_attribute("data-nusd", str(report["total_cost_nusd"]))


def read_a_story(look: Look, mill: WholeMill, batch_id: str) -> None:
    page = look.page
    look.open("/")
    submitted = page.locator("tr", has_text=batch_id)
    made_at = mill.batch(batch_id)["created_at"]
    here = datetime.fromtimestamp(made_at, ZoneInfo(ZONE))  # the browser's zone, not the server's
    expect(submitted).to_contain_text(f"{here:%H:%M:%S}{here:%Y-%m-%d}")
    submitted.get_by_role("link").first.click()
    page.get_by_role("link", name="capital-portugal", exact=True).click()
    expect(page.locator("section", has_text="Prompt").first).to_contain_text(
        "the capital of Portugal?"
    )
    expect(page.locator("section", has_text="Answer").first.locator(".pm-text")).not_to_be_empty()
    expect(page.get_by_role("list", name="Ladder")).to_contain_text("cheap")
    expect(page.locator("section", has_text="Attempts")).to_contain_text("billed")
    look.picture("console-job")
    thumb = page.get_by_role("group", name="Is the answer right?").get_by_role("button", name="Yes")
    thumb.click()
    expect(thumb).to_have_attribute("aria-pressed", "true")
    said = mill.http.get(f"/v1/jobs/{page.url.rpartition('/')[2]}").raise_for_status().json()
    assert said["feedback"] == 1
    look.open("/requests?status=completed")
    words = page.get_by_label("Words of the prompt, custom_id, or an id")
    words.fill("say THIS:")
    page.evaluate("mounted_app.$forceUpdate()")  # the page may be drawn again while somebody types
    page.get_by_role("button", name="Find").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(words).to_have_value("say THIS:")
    page.get_by_role("link", name=HOSTILE).click()
    expect(page.locator("section", has_text="Prompt").first).to_contain_text(HOSTILE)


def look_at_what_is_learned(look: Look, mill: WholeMill, project: str) -> None:
    page = look.page
    look.open("/learning")
    trial = page.locator("section", has_text="Trial of another policy")
    expect(trial.get_by_role("row", name="Answers the checks accept")).to_contain_text("%")
    look.picture("console-learning")
    page.get_by_role("button", name="End the trial").click()
    expect(trial).to_contain_text("None runs")
    told = mill.http.get("/v1/routing", params={"project": project}).raise_for_status().json()
    assert told["trial"] is None


def try_and_compare(look: Look) -> None:
    page = look.page
    look.open("/try")
    page.get_by_label("Prompt").fill("Write a function that adds two numbers.")
    page.get_by_role("button", name="Show its route").click()
    expect(page.locator(".pm-figure", has_text="Task type")).to_contain_text("coding")
    look.open("/compare")
    page.get_by_label("Prompt").fill("What is 2 + 3?")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("[data-answer]")).to_have_count(3)
    expect(page.get_by_text("3 of 3 answers are here.")).to_be_visible()
    look.picture("console-compare")


def set_a_budget(look: Look, mill: WholeMill, project: str) -> None:
    page = look.page
    look.open("/budgets")
    page.get_by_label("Day, USD").fill("12.5")
    page.get_by_role("button", name="Set limits").click()
    expect(page.locator("tr", has_text="day")).to_contain_text("$12.50")
    budget = mill.http.get("/v1/budget", params={"project": project}).json()
    day = next(window for window in budget["windows"] if window["window"] == "day")
    assert day["limit_nusd"] == 12_500_000_000
    look.picture("console-budgets")
    page.get_by_label("Day, USD").fill("much")
    page.get_by_role("button", name="Set limits").click()
    expect(page.get_by_role("alert").filter(has_text="day_usd")).to_be_visible()


def redeliver(look: Look, hooks: Hooks, endpoint: str) -> None:
    page = look.page
    hooks.wait_for(1)
    look.open("/webhooks")
    page.get_by_role("link", name="warehouse").click()
    page.wait_for_url(f"**/webhooks/{endpoint}")
    row = page.locator("tr", has_text="batch.completed")
    expect(row).to_contain_text("delivered")
    row.get_by_role("button", name="Redeliver").click()
    hooks.wait_for(2)
    assert hooks.received[0][0] == hooks.received[1][0]


def on_a_phone_and_in_the_dark(look: Look, batch_id: str) -> None:
    page = look.page
    look.open(f"/batches/{batch_id}")
    page.get_by_role("button", name="Light / dark").click()
    expect(page.locator("body.body--dark")).to_be_attached()
    look.open("/costs")
    expect(page.locator("body.body--dark")).to_be_attached()  # it is remembered
    look.picture("console-costs-dark")
    page.set_viewport_size({"width": 390, "height": 844})
    for place in (*PLACES, f"/batches/{batch_id}"):
        look.open(place)
        wide = page.evaluate("document.documentElement.scrollWidth > innerWidth + 1")
        assert not wide, place
    look.picture("console-phone")


def test_a_key_sees_its_own_project_only_and_does_only_what_its_scopes_allow(
    mill: WholeMill, browser: Browser
) -> None:
    foreign = mill.submit([{"prompt": "What is 1 + 1?"}], "--project", mill.project())["id"]
    body = {"project": mill.project(), "scopes": ["read"], "name": f"r{uuid.uuid4().hex[:6]}"}
    made = mill.http.post("/v1/keys", json=body).raise_for_status().json()
    with looking(browser, str(mill.http.base_url).rstrip("/")) as look:
        page = look.page
        page.goto(f"{look.base_url}/console/")
        page.get_by_label("API key").fill(made["key"])
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Batches")).to_be_visible()
        expect(page.locator("#content")).not_to_contain_text("batch_")
        look.open(f"/batches/{foreign}")
        expect(page.get_by_role("alert")).to_contain_text("no such batch")
        look.open("/upload")
        expect(page.get_by_role("alert")).to_contain_text("may look but not submit")
        look.open("/budgets")
        expect(page.get_by_role("button", name="Set limits")).to_have_count(0)
        look.open("/providers")
        expect(page.locator("tbody tr").first).to_be_visible()  # all scripts of the page are here
        mill.http.delete(f"/v1/keys/{made['id']}").raise_for_status()
        expect(page.get_by_label("API key")).to_be_visible()  # the open page leads there by itself
