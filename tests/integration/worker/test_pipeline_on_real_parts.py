"""A worker's parts on a real Redis, both databases and the simulator's four wires."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from producer.reporting.report import report
from shared.clock import utc_now
from shared.db.repositories import webhook_endpoints
from shared.db.tables import jobs, outbox
from shared.domain.money import nusd_from_usd, usd_from_nusd
from tests.mill import asking, running_mill, text_of_result
from tests.servers.simulator import SimulatorServer

EASY = "What is the capital of France?"


class _AnswersWithoutUsage(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        choice = {"index": 0, "finish_reason": "stop", "message": {"content": "Paris."}}
        body = json.dumps({"id": "x", "choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def host_without_usage() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _AnswersWithoutUsage)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


@pytest.fixture
def mill(tmp_path: Path, database_url: str, redis_url: str, simulator: SimulatorServer) -> Any:
    with running_mill(tmp_path, database_url, redis_url, simulator) as running:
        yield running


def test_every_job_of_a_chunk_is_answered_and_paid_as_the_provider_says(
    mill: Any, simulator: SimulatorServer
) -> None:
    requests = [
        asking(f"What is {i} + {i}?", model=model)
        for i in range(10)
        for model in ("tiny", "other-tiny", "middle", "large")
    ]
    ids = mill.batch(requests)

    assert mill.worker.runner.run(ids) == len(ids)

    assert mill.statuses() == {"completed": len(ids)}
    batch = mill.the_batch()
    assert batch.status == "completed"
    bill = simulator.bill()
    assert batch.cost_nusd == bill["total_nusd"] > 0
    per_model: dict[str, int] = {}
    for row in mill.attempts():
        per_model[row.model] = per_model.get(row.model, 0) + row.cost_nusd
    assert per_model == {name: part["cost_nusd"] for name, part in bill["by_model"].items()}
    assert [row.cost_nusd for row in mill.results()] == [a.cost_nusd for a in mill.attempts()]


def test_a_job_that_cannot_be_read_takes_no_other_with_it(mill: Any) -> None:
    ids = mill.batch([asking(EASY) for _ in range(3)])
    unreadable = update(jobs).where(jobs.c.id == ids[1]).values(request='{"messages": 7}')
    with mill.database.transaction() as connection:
        connection.execute(unreadable)

    assert mill.worker.runner.run(ids) == 3
    assert mill.statuses() == {"completed": 2, "running": 1}


def test_the_same_chunk_twice_is_answered_once(mill: Any, simulator: SimulatorServer) -> None:
    ids = mill.batch([asking(EASY) for _ in range(5)])

    assert mill.worker.runner.run(ids) == 5
    assert mill.worker.runner.run(ids) == 0

    assert simulator.bill()["calls"] == 5


def test_a_weak_answer_climbs_and_the_better_one_is_kept(
    mill: Any, simulator: SimulatorServer
) -> None:
    simulator.set_scenario(
        {
            "rules": [
                {"match": {"model": "tiny"}, "fault": "refused"},
                {"match": {"model": "other-tiny"}, "fault": "refused"},
                {"match": {"model": "middle"}, "fault": "empty"},
            ]
        }
    )
    ids = mill.batch([asking(EASY, model="cheap")])

    mill.worker.runner.run(ids)

    (result,) = mill.results()
    assert (result.status, result.tier, result.climbs, result.rescued) == (
        "completed",
        "high",
        2,
        True,
    )
    assert text_of_result(result)
    assert [row.tier for row in mill.attempts()] == ["cheap", "mid", "high"]
    assert result.cost_nusd == simulator.bill()["total_nusd"]


def test_a_named_model_is_asked_alone_and_its_weak_answer_is_kept(
    mill: Any, simulator: SimulatorServer
) -> None:
    simulator.set_scenario({"rules": [{"fault": "truncated"}]})
    mill.worker.runner.run(mill.batch([asking("Tell a long story.", model="tiny")]))

    (result,) = mill.results()
    assert (result.status, result.model, result.finish_reason) == ("completed", "tiny", "length")
    assert result.climbs == 0


@pytest.mark.parametrize("fault", ["500", "503"])
def test_a_failing_provider_is_passed_over(
    mill: Any, simulator: SimulatorServer, fault: str
) -> None:
    simulator.set_scenario({"rules": [{"match": {"wire": "openai"}, "fault": fault}]})
    mill.worker.runner.run(mill.batch([asking(EASY, model="cheap") for _ in range(3)]))

    assert {row.model for row in mill.results()} == {"other-tiny"}
    assert all(row.cost_nusd == 0 for row in mill.attempts() if row.status == "free")


def test_what_may_have_been_billed_is_charged_at_its_reservation(
    mill: Any, simulator: SimulatorServer
) -> None:
    simulator.set_scenario(
        {
            "rules": [
                {"match": {"model": "tiny"}, "fault": "cut_after", "times": 1},
            ]
        }
    )
    mill.worker.runner.run(mill.batch([asking(EASY, model="tiny")]))

    first, second = mill.attempts()
    assert (first.status, first.cost_nusd) == ("unconfirmed", first.reserved_nusd)
    assert second.status == "billed"
    assert mill.the_batch().unconfirmed_nusd == first.cost_nusd
    assert mill.the_batch().cost_nusd >= simulator.bill()["total_nusd"]


def test_an_answer_without_usage_costs_all_that_was_reserved_and_says_so(
    tmp_path: Path,
    sqlite_url: str,
    redis_url: str,
    simulator: SimulatorServer,
    host_without_usage: str,
) -> None:
    hosts = {"acme": host_without_usage}
    with running_mill(tmp_path, sqlite_url, redis_url, simulator, base_urls=hosts) as mill:
        mill.worker.runner.run(mill.batch([asking(EASY, model="tiny")]))

        (attempt,) = mill.attempts()
        assert (attempt.status, attempt.cost_nusd) == ("billed", attempt.reserved_nusd)
        assert "usage_not_reported" in attempt.warnings
        assert mill.the_batch().cost_nusd == attempt.reserved_nusd


def test_what_the_budget_cannot_carry_is_held_and_never_overspent(
    mill: Any, simulator: SimulatorServer
) -> None:
    limit = nusd_from_usd("0.0006")
    ids = mill.batch(
        [
            asking(f"Question number {i}: what is {i} + 1?", model="tiny", max_tokens=50)
            for i in range(200)
        ],
        limits={"day": limit},
    )
    mill.worker.runner.run(ids)

    statuses = mill.statuses()
    assert simulator.bill()["total_nusd"] <= limit
    assert statuses.get("held", 0) + statuses.get("queued", 0) + statuses["completed"] == 200
    assert statuses["completed"] < 200
    assert sum(row.cost_nusd for row in mill.attempts()) == simulator.bill()["total_nusd"]


def test_a_request_larger_than_the_whole_limit_fails_with_the_figures(mill: Any) -> None:
    mill.worker.runner.run(
        mill.batch([asking(EASY, model="large", max_tokens=4000)], max_cost_nusd=1000)
    )
    (result,) = mill.results()
    assert result.error["code"] == "budget_exceeded"
    assert result.error["limit_nusd"] == 1000 < result.error["need_nusd"]


def test_a_wrong_request_fails_with_the_providers_words(
    mill: Any, simulator: SimulatorServer
) -> None:
    simulator.set_scenario({"rules": [{"match": {"model": "tiny"}, "fault": "404"}]})
    mill.worker.runner.run(mill.batch([asking(EASY, model="tiny")]))

    (result,) = mill.results()
    assert (result.status, result.error["status"], result.cost_nusd) == ("failed", 404, 0)


def test_a_refused_account_leaves_the_job_in_the_queue(
    mill: Any, simulator: SimulatorServer
) -> None:
    simulator.set_scenario({"rules": [{"fault": "401"}]})
    mill.worker.runner.run(mill.batch([asking(EASY, model="tiny") for _ in range(4)]))

    assert mill.statuses() == {"queued": 4}
    assert len(mill.attempts()) <= 4
    assert mill.the_batch().cost_nusd == 0


def test_jobs_are_handed_back_unpaid_when_the_worker_stops(
    mill: Any, simulator: SimulatorServer
) -> None:
    ids = mill.batch([asking(EASY) for _ in range(3)])
    mill.worker.runner.stop()

    assert mill.worker.runner.run(ids) == 0
    assert mill.statuses() == {"queued": 3}
    assert simulator.bill()["calls"] == 0


def test_a_job_that_keeps_losing_its_answers_is_given_up(
    mill: Any, simulator: SimulatorServer
) -> None:
    simulator.set_scenario({"rules": [{"fault": "cut_after"}]})
    mill.worker.runner.run(mill.batch([asking(EASY)]))

    (result,) = mill.results()
    assert (result.status, result.attempts) == ("failed", 4)
    assert {row.status for row in mill.attempts()} == {"unconfirmed"}
    assert result.cost_nusd == sum(row.reserved_nusd for row in mill.attempts())


def test_each_answer_is_announced_where_an_endpoint_asks_for_it(
    mill: Any, simulator: SimulatorServer
) -> None:
    ids = mill.batch([asking(EASY, model="tiny"), asking(EASY, model="tiny")])
    with mill.database.transaction() as connection:
        webhook_endpoints.create(
            connection, "acme", "https://example.com/hook", "jobs", ["job.completed"], utc_now()
        )
    simulator.set_scenario({"rules": [{"fault": "404", "times": 1}]})
    mill.worker.runner.run(ids)

    told = [(row.type, row.data["status"]) for row in mill.rows(outbox) if "job" in row.type]
    assert told == [("job.completed", "completed")]


def test_more_than_was_reserved_is_charged_marked_and_reported(
    mill: Any, simulator: SimulatorServer
) -> None:
    simulator.set_scenario({"usage": {"overreport": 500}})
    mill.worker.runner.run(mill.batch([asking(EASY, model="tiny", max_tokens=20)]))

    (attempt,) = mill.attempts()
    assert attempt.cost_nusd == simulator.bill()["total_nusd"] > attempt.reserved_nusd
    assert "cost_above_reservation" in attempt.warnings
    assert report(mill.database, mill.the_batch())["above_reservation"] == {
        "attempts": 1,
        "excess_nusd": attempt.cost_nusd - attempt.reserved_nusd,
        "excess_usd": usd_from_nusd(attempt.cost_nusd - attempt.reserved_nusd),
    }
