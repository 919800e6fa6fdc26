"""What a project's policy may order: a second answer as a judge, another policy for some jobs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import update

from shared.clock import utc_now
from shared.db.repositories import outcomes
from shared.db.tables import attempts, jobs, projects, results
from shared.deciding.trials import Arm, arm_of
from shared.domain.attempt import Purpose
from tests.mill import Mill, asking, running_mill, text_of_result
from tests.servers.simulator import SimulatorServer
from worker.maintenance.cost_learner import CostLearner

SUMS = ("What is 12 + 30?", "What is 13 + 30?", "Write a poem about the sea.")

HARD = "Prove step by step, for every integer n, with full rigour, and then compute the value:"


def run(mill: Mill, prompts: Sequence[str], first: int = 9, **routing: Any) -> list[int]:
    ids = mill.batch([asking(prompt) for prompt in prompts])
    with mill.database.transaction() as connection:
        connection.execute(update(projects).values(routing=routing))
    mill.worker.runner.run(ids[:first])
    return ids


def test_agreement_ends_a_job_and_disagreement_climbs(
    tmp_path: Path, database_url: str, redis_url: str, simulator: SimulatorServer
):
    weak = {"match": {"model": "other-tiny", "contains": "13 + "}, "fault": "weak"}
    simulator.set_scenario({"rules": [weak]})
    with running_mill(tmp_path, database_url, redis_url, simulator) as mill:
        same, other, open_ = run(mill, SUMS, agreement=True)
        made = {
            job: [row for row in mill.attempts() if row.job_id == job]
            for job in (same, other, open_)
        }
        first, second, third = mill.results()

        assert [(row.model, row.purpose) for row in made[same]] == [
            ("tiny", Purpose.ANSWER), ("other-tiny", Purpose.JUDGE)
        ]  # fmt: skip
        assert (first.model, first.climbs, first.attempts) == ("tiny", 0, 2)
        assert "42" in text_of_result(first)
        assert first.cost_nusd == sum(row.cost_nusd for row in made[same])

        assert [row.model for row in made[other]] == ["tiny", "other-tiny", "middle"]
        assert made[other][1].verdict["judge"] == "agreement"
        assert (second.model, second.climbs, second.rescued) == ("middle", 1, True)
        assert "other-tiny gave no answer" in second.decision["notes"][0]
        # What cannot be compared is not checked.
        assert {row.purpose for row in made[open_]} == {Purpose.ANSWER}
        assert third.attempts == len(made[open_])
        assert simulator.bill()["total_nusd"] == sum(row.cost_nusd for row in mill.attempts())

        with mill.database.reading() as connection:
            judged = outcomes.judged_in_batch(connection, mill.number, 3)
            compared = outcomes.compared_in_batch(connection, mill.number)
        assert sum(said.agreed for (model, _), said in judged.items() if model == "tiny") == 1
        assert [(row.model, row.end_tier) for row in compared] == [("tiny", "mid")]
        assert CostLearner(mill.database).run_once(utc_now()) == 0  # it has no plan


def test_without_the_project_s_wish_nothing_is_asked_twice(
    tmp_path: Path, database_url: str, redis_url: str, simulator: SimulatorServer
):
    with running_mill(tmp_path, database_url, redis_url, simulator) as mill:
        run(mill, SUMS[:2])
        assert {row.purpose for row in mill.attempts()} == {Purpose.ANSWER}


def test_a_worker_that_died_after_a_check_buys_neither_answer_again(
    tmp_path: Path, database_url: str, redis_url: str, simulator: SimulatorServer
):
    with running_mill(tmp_path, database_url, redis_url, simulator) as mill:
        job, _ = run(mill, SUMS[:2], first=1, agreement=True)
        (row,) = mill.results()
        # As it stood when the check was paid for and the job's end was not yet written.
        with mill.database.transaction() as connection:
            connection.execute(results.delete())
            connection.execute(
                update(jobs)
                .where(jobs.c.id == job)
                .values(status="queued", deaths=1, decision=row.decision)
            )
            connection.execute(
                update(attempts)
                .where(attempts.c.purpose == Purpose.ANSWER)
                .values(answer=row.body, verdict={"accepted": True, "score": 1.0, "reasons": [],
                                                  "judge": "checks"})
            )  # fmt: skip
        mill.worker.runner.run([job])
        assert [made.model for made in mill.attempts()] == ["tiny", "other-tiny"]
        (again,) = mill.results()
        assert (again.body, again.cost_nusd) == (row.body, row.cost_nusd)


def test_jobs_that_can_be_checked_start_lower_where_two_cheap_answers_cost_less_than_one(
    tmp_path: Path, database_url: str, redis_url: str, simulator: SimulatorServer
):
    weak = {"match": {"model": "other-tiny", "contains": "13 + "}, "fault": "weak"}
    simulator.set_scenario({"rules": [weak]})
    with running_mill(tmp_path, database_url, redis_url, simulator) as mill:
        prompts = [f"{HARD} What is {n} + 30?" for n in (12, 13)]
        same, other = run(mill, prompts, agreement="auto")
        made = {job: [row.model for row in mill.attempts() if row.job_id == job]
                for job in (same, other)}  # fmt: skip
        first, second = mill.results()
        assert first.decision["route"]["checked"]
        # Where they differ, the job goes where it would have gone at once: no tier in between.
        usual = first.decision["route"]["ladder"][1]["models"][0]
        assert usual == "middle"
        assert made[same] == ["tiny", "other-tiny"]
        assert (first.model, first.climbs) == ("tiny", 0)
        assert made[other] == ["tiny", "other-tiny", usual]
        assert (second.model, second.climbs, second.rescued) == (usual, 1, True)
        with mill.database.reading() as connection:
            told = outcomes.checks_in_batch(connection, mill.number)
        spent = [row for row in mill.attempts() if row.model != usual]
        assert (told.checks, told.agreed) == (2, 1)
        assert told.cost_nusd == sum(row.cost_nusd for row in spent if row.purpose == "judge")
        # What the middle model would have cost once, less what the cheap ones cost twice.
        kept = next(row for row in spent if row.job_id == same)
        spared = kept.input_tokens * 2_000 + kept.output_tokens * 12_000
        assert told.saved_nusd == spared - sum(row.cost_nusd for row in spent)
        assert simulator.bill()["total_nusd"] == sum(row.cost_nusd for row in mill.attempts())


def test_a_model_names_what_the_classifier_only_guesses_and_is_paid_once(
    tmp_path: Path, database_url: str, redis_url: str, simulator: SimulatorServer
):
    with running_mill(tmp_path, database_url, redis_url, simulator) as mill:
        # Everything is a guess below 1: so each job is asked about.
        job, other, _ = run(mill, SUMS, first=1, classify_with="cheap", classify_below=1.0)
        (row,) = mill.results()
        asked, *rest = mill.attempts()
        assert (asked.model, asked.purpose) == ("tiny", Purpose.CLASSIFY)
        assert [made.purpose for made in rest] == [Purpose.ANSWER]
        classification = row.decision["classification"]
        assert (classification["task_type"], classification["difficulty"]) == ("simple_qa", 0.2)
        assert classification["source"] == "model:tiny"
        assert row.cost_nusd == asked.cost_nusd + rest[0].cost_nusd
        # As it stood when the label was paid for and nothing was decided yet.
        with mill.database.transaction() as connection:
            connection.execute(results.delete())
            connection.execute(attempts.delete().where(attempts.c.purpose == Purpose.ANSWER))
            again = update(jobs).where(jobs.c.id == job)
            connection.execute(again.values(status="queued", deaths=1, decision=None))
        mill.worker.runner.run([job])
        assert [made.purpose for made in mill.attempts()] == [Purpose.CLASSIFY, Purpose.ANSWER]
        (row,) = mill.results()
        assert row.decision["classification"] == classification
        # Where it cannot be asked, the guess stands.
        down = {"match": {"contains": '{"prompt":'}, "fault": "500"}
        simulator.set_scenario({"rules": [down]})
        mill.worker.runner.run([other])
        second = mill.results()[1]
        assert second.decision["classification"]["source"] != "model:tiny"
        with mill.database.reading() as connection:
            judged = outcomes.judged_in_batch(connection, mill.number, 3)
        assert sum(said.passed for said in judged.values()) == 2


def test_a_low_grade_by_the_project_s_rubric_climbs_and_a_high_one_ends_the_job(
    tmp_path: Path, database_url: str, redis_url: str, simulator: SimulatorServer
):
    with running_mill(tmp_path, database_url, redis_url, simulator) as mill:
        prompts = ("Write a poem about the sea.", "Write a poem about a zebra.")
        rubric = {"text": "It must mention zebra.", "judge": "tiny"}
        low, high = run(mill, prompts, rubric=rubric)
        first, second = mill.results()
        made = {job: [row for row in mill.attempts() if row.job_id == job] for job in (low, high)}
        assert [row.purpose for row in made[high]] == [Purpose.ANSWER, Purpose.JUDGE]
        assert (second.climbs, made[high][1].verdict["score"]) == (0, 0.9)
        assert made[high][1].verdict["judge"] == "rubric"
        assert [row.purpose for row in made[low]] == [
            Purpose.ANSWER, Purpose.JUDGE, Purpose.ANSWER
        ]  # fmt: skip
        assert first.climbs == 1
        assert "grades it 0.20: does not mention zebra" in first.decision["notes"][0]
        assert first.cost_nusd == sum(row.cost_nusd for row in made[low])
        assert simulator.bill()["total_nusd"] == sum(row.cost_nusd for row in mill.attempts())


def test_a_trial_runs_each_job_by_the_policy_of_its_arm(
    tmp_path: Path, database_url: str, redis_url: str, simulator: SimulatorServer
):
    trial = {"name": "t", "share": 0.5, "policy": {"allowed_models": ["large"]}, "began_at": ""}
    with running_mill(tmp_path, database_url, redis_url, simulator) as mill:
        run(mill, [f"What is {n} + 30?" for n in range(24)], trial=trial)
        rows = mill.results()
    arms = [arm_of("t", row.job_id, 0.5) for row in rows]
    assert set(arms) == set(Arm)
    assert [row.decision["trial"] for row in rows] == [{"name": "t", "arm": arm} for arm in arms]
    assert [row.model for row in rows] == ["large" if arm is Arm.B else "tiny" for arm in arms]
