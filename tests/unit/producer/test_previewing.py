"""Looking ahead: decisions in their stable shape, plans that keep their order."""

import io
from pathlib import Path

import pytest

from producer.intake import IntakeLimits, read_lines
from producer.planning.plan import EXAMINED
from producer.previewing import Preview
from shared.catalog.loader import load_catalog
from shared.catalog.spec import Catalog


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog(Path("catalog.toml"), {})


def lines(catalog: Catalog, content: bytes):
    return read_lines(io.BytesIO(content), IntakeLimits(), catalog.models)


def test_a_decision_has_its_stable_fields_without_any_key_or_network(catalog: Catalog):
    content = b'{"custom_id":"a","prompt":"Prove that there are infinitely many primes."}\nbad\n'
    good, bad = Preview(catalog, everywhere=True).routes(lines(catalog, content))
    assert set(good) == {
        "custom_id", "task_type", "difficulty", "level", "confidence", "tier", "model", "ladder",
        "reasons",
    }  # fmt: skip
    assert good["model"] == good["ladder"][0]["models"][0]
    assert (bad["error"]["code"], bad["error"]["line"]) == ("invalid_json_line", 2)


def test_without_a_key_the_true_decision_is_that_nothing_can_be_asked(catalog: Catalog):
    (decision,) = Preview(catalog).routes(lines(catalog, b'{"prompt":"x"}'))
    assert decision["model"] is None
    assert decision["error"]["code"] == "no_model"


def test_a_plan_rises_from_likely_to_worst_and_scales_what_it_sampled(catalog: Catalog):
    preview = Preview(catalog, everywhere=True)
    numbers = range(10_000, 10_000 + EXAMINED + 1000)
    content = b"".join(b'{"prompt":"What is the sum of %d and 2?"}\n' % i for i in numbers)
    sampled = preview.plan(lines(catalog, content))
    half = preview.plan(lines(catalog, b"".join(content.splitlines(keepends=True)[::2])))
    assert sampled["examined"] == half["examined"] == (EXAMINED + 1000) // 2
    assert [row["jobs"] for row in sampled["models"]] == [EXAMINED + 1000]
    cost = sampled["cost_nusd"]
    assert cost["p50"] == pytest.approx(2 * half["cost_nusd"]["p50"], rel=0.01)
    assert 0 < cost["p50"] < cost["p95"] <= cost["worst"]


def test_a_plan_names_the_lines_that_have_no_price(catalog: Catalog):
    content = (
        b'{"prompt":"x"}\n{"custom_id":"small","prompt":"y",'
        b'"constraints":{"max_cost_usd":"0.000000001"}}\nbad\n'
    )
    found = Preview(catalog, everywhere=True).plan(lines(catalog, content))
    (unpriced,) = found["unpriced"]
    assert (unpriced["line"], unpriced["custom_id"], unpriced["code"]) == (2, "small", "no_model")
    assert [row["line"] for row in found["bad_lines"]] == [3]
    assert (found["jobs"], found["rejected"], found["unroutable"]) == (2, 1, 1)
    assert sum(row["jobs"] for row in found["models"]) == 1


def test_a_plan_counts_what_is_asked_twice_once(catalog: Catalog):
    preview = Preview(catalog, everywhere=True)
    once = b'{"prompt":"What is the capital of France?"}\n{"prompt":"Who was Ada Lovelace?"}\n'
    sampled = b'{"prompt":"Who was Ada Lovelace?","temperature":1}\n'
    plain = preview.plan(lines(catalog, once))
    repeated = preview.plan(lines(catalog, once * 50))
    assert (repeated["jobs"], repeated["duplicates"], repeated["examined"]) == (100, 98, 2)
    assert repeated["cost_nusd"] == plain["cost_nusd"]
    assert preview.plan(lines(catalog, sampled * 3))["duplicates"] == 0


def test_a_plan_of_bad_lines_only_costs_nothing(catalog: Catalog):
    plan = Preview(catalog, everywhere=True).plan(lines(catalog, b"x\ny\n"))
    assert (plan["jobs"], plan["rejected"], plan["seconds"]) == (0, 2, 0.0)
    assert plan["cost_nusd"] == {"p50": 0, "p95": 0, "worst": 0}
