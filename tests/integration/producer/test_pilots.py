"""Pilots: asked for, chosen in proportion from all kinds of lines, and refused where wrong."""

from collections import Counter
from typing import Any

import httpx
import pytest

from producer.bootstrap import ProducerContext
from shared.db.repositories import batch_plans, batches, staging
from tests.integration.producer.finished import number_of
from tests.integration.producer.test_api_batches import error_of, made, submit

EASY = [b'{"prompt":"What is the capital of country number %d?"}\n' % n for n in range(300)]
HARD = [b'{"prompt":"Write a Python function that sorts list %d."}\n' % n for n in range(100)]
NAMED = [b'{"prompt":"Hello, number %d.","model":"high"}\n' % n for n in range(40)]


def pilot_of(context: ProducerContext, batch_id: str) -> dict[str, Any]:
    with context.database.reading() as connection:
        return dict(batch_plans.pilot_of(connection, number_of(context, batch_id)))


def test_a_pilots_lines_are_of_all_kinds_in_proportion_and_the_only_ones_that_may_run(
    api: httpx.Client, context: ProducerContext
):
    batch = made(api, b"".join([*EASY, *HARD, *NAMED]), pilot="true")
    assert batch["promptmill"]["pilot"] == batches.PILOT_ASKING
    lines = {int(line): kind for line, kind in pilot_of(context, batch["id"])["lines"].items()}
    assert len(lines) == 100
    assert max(lines) <= 400
    kinds = Counter(kind.split("/")[0] for kind in lines.values())
    assert 0.6 <= kinds["simple_qa"] / 100 <= 0.85
    assert kinds["coding"] >= 10
    assert sum(context.publisher.depths().values()) == 0
    number = number_of(context, batch["id"])
    with context.database.reading() as connection:
        due = staging.stageable(connection, number, context.clock(), 1000, lines=list(lines))
    assert len(due) == 100


def test_the_prediction_of_a_batch_with_a_pilot_has_its_comparisons_in_it(
    api: httpx.Client, context: ProducerContext
):
    def predicted(**options: str) -> dict[str, int]:
        batch = made(api, b"".join(EASY), **options)["id"]
        report = api.get(f"/v1/batches/{batch}/report").json()
        return dict(report["predicted"]["cost_nusd"])

    usual, piloted = predicted(), predicted(pilot="true")
    limited = predicted(max_quality_loss="0.06")
    assert piloted["p50"] > 2 * usual["p50"], "a third of its lines is asked of dear models, too"
    assert piloted["p95"] > usual["p95"]
    assert piloted["worst"] >= usual["worst"]
    assert limited["p95"] > 2 * piloted["p95"], "the strongest tier may get it all"


def test_a_limit_on_the_loss_asks_for_as_many_lines_as_show_it(
    api: httpx.Client, context: ProducerContext
):
    batch = made(api, b"".join([*EASY, *HARD]), max_quality_loss="0.06")
    assert batch["promptmill"]["max_quality_loss"] == 0.06
    assert len(pilot_of(context, batch["id"])["lines"]) == 98


def test_a_batch_too_small_for_a_pilot_runs_at_once(api: httpx.Client, context: ProducerContext):
    batch = made(api, b"".join(EASY[:30]), pilot="true")
    assert batch["promptmill"]["pilot"] == batches.PILOT_COMMITTED
    assert pilot_of(context, batch["id"])["lines"] == {}
    report = api.get(f"/v1/batches/{batch['id']}/report").json()
    assert report["pilot"]["choices"] == []


def test_without_being_asked_for_a_batch_has_none(api: httpx.Client, context: ProducerContext):
    batch = made(api, b"".join(EASY))
    assert batch["promptmill"]["pilot"] is None
    assert pilot_of(context, batch["id"]) == {}


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"max_quality_loss": "0.9"}, "max_quality_loss"),
        ({"max_quality_loss": "0.02", "pilot": "false"}, "pilot"),
        ({"pilot": "true", "optimise": "quality", "max_cost_usd": "1"}, "pilot"),
        ({"pilot": "true", "start": "early"}, "start"),
    ],
)
def test_what_a_pilot_cannot_do_is_refused(api: httpx.Client, options: dict[str, str], param: str):
    assert error_of(submit(api, EASY[0], **options), 400)["param"] == param
