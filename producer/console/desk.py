"""What the pages ask for: the API's own readers and verbs, as whoever is logged in.

Each call looks the key up again, so a page that is left open ends with its key. All block; pages
call them in threads. They raise PromptmillError as the API's endpoints do.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.requests import HTTPConnection
from starlette.responses import Response

from producer.accounts.access import Right
from producer.api.objects import made_object
from producer.api.routes import batches as batch_routes
from producer.api.routes import catalog as catalog_routes
from producer.api.routes import jobs as job_routes
from producer.api.routes import projects as project_routes
from producer.api.routes import webhooks as webhook_routes
from producer.cancellation import find
from producer.console.visitor import Visitor
from producer.file_batches import read_file_batch
from producer.reporting.analytics import Analytics, Period
from producer.reporting.history import Found, History, Wanted
from producer.reporting.result_lines import Format
from producer.watching.overview import open_alerts
from shared.db.repositories import batches
from shared.db.repositories.batches import BatchRow
from shared.domain.inference import TaskType
from shared.domain.job import job_id_of, public_job_id
from shared.errors import UsageError

PAGE: Final = 25


@dataclass(frozen=True, slots=True)
class Desk(Visitor):
    """One reader's place at the API. wake: tells the background that a file is to be read."""

    wake: Callable[[], None]

    # Batches ------------------------------------------------------------------------------------

    def batches(self, after: str | None) -> dict[str, Any]:
        """A page of batches, newest first."""
        seen = self.acting(Right.READ).seen
        return batch_routes.listed(self.context, seen, after=after, limit=PAGE, chat=False)

    def batch(self, batch_id: str) -> dict[str, Any]:
        """A batch as it stands."""
        return told(batch_routes.get_batch(batch_id, self.context, self.acting(Right.READ)))

    def report(self, batch_id: str) -> dict[str, Any]:
        """What a batch cost, and where the money went."""
        return told(batch_routes.report(batch_id, self.context, self.acting(Right.READ)))

    def cancel(self, batch_id: str) -> dict[str, Any]:
        """Start nothing more of a batch."""
        return told(batch_routes.cancel(batch_id, self.context, self.acting(Right.SUBMIT)))

    def retry(self, batch_id: str) -> dict[str, Any]:
        """Run its failed jobs again."""
        return told(batch_routes.retry(batch_id, self.context, self.acting(Right.SUBMIT)))

    def resume(self, batch_id: str, max_cost_usd: str) -> dict[str, Any]:
        """Give it another cap."""
        body = batch_routes.Resume(max_cost_usd=max_cost_usd)
        return told(batch_routes.resume(batch_id, self.context, self.acting(Right.SUBMIT), body))

    def lines(self, batch_id: str, after: int, limit: int) -> list[dict[str, Any]]:
        """Result lines of a batch after a line, in input order, each with its job's id."""
        number = self._row(batch_id).number
        blocks = self.context.results.stream(number, Format.JSONL, after=after, limit=limit)
        lines = [orjson.loads(line) for line in b"".join(blocks).splitlines()]
        return [{**line, "id": public_job_id(job_id_of(number, line["line"]))} for line in lines]

    def results(self, batch_id: str, form: Format) -> Iterator[bytes]:
        """All result lines that are there, in blocks."""
        return self.context.results.stream(self._row(batch_id).number, form)

    def spending(self, batch_id: str) -> list[dict[str, Any]]:
        """What a batch cost over time: {at, attempts, cost_nusd} by equal spans."""
        return self.context.results.spending(self._row(batch_id), self.context.clock())

    def _row(self, batch_id: str) -> BatchRow:
        seen = self.acting(Right.READ).seen
        with self.context.database.reading() as connection:
            return find(connection, batch_id, seen)

    # Jobs ---------------------------------------------------------------------------------------

    def job(self, job_id: str) -> dict[str, Any]:
        """A job's whole story."""
        return self.context.results.job(job_id, self.acting(Right.READ).seen)

    def rate(self, job_id: str, score: float) -> dict[str, Any]:
        """Say what a job's answer was worth: 0 is bad, 1 is good."""
        return self.context.outcomes.say(job_id, self.acting(Right.SUBMIT).seen, score)

    def requests(self, wanted: Wanted) -> Found:
        """Ended requests, newest first."""
        return History(self.context.database).page(self.acting(Right.READ).seen, wanted, PAGE)

    # Looking ahead ------------------------------------------------------------------------------

    def route(self, line: Mapping[str, Any]) -> dict[str, Any]:
        """Where an input line would go, and why; nothing is sent."""
        return told(job_routes.route(self.context, self.acting(Right.READ), dict(line)))

    def plan(self, file_id: str) -> dict[str, Any]:
        """What an uploaded file might cost."""
        acting = self.acting(Right.READ)
        _, blocks = self.context.files.content(file_id, acting.seen)
        with self.context.spool() as spool:
            for block in blocks:
                spool.write(block)
            return job_routes.planned(self.context, spool, acting.project)

    def start(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make a batch of an uploaded file: the body is that of POST /v1/batches."""
        acting = self.acting(Right.SUBMIT)
        made = self.context.file_batches.create(
            read_file_batch(dict(body), self.context.catalog),
            acting.project,
            self.arrival(acting),
            acting.caller.allowance,
        )
        self.wake()
        with self.context.database.reading() as connection:
            return made_object(made, batches.counts(connection, made.batch))

    # Money --------------------------------------------------------------------------------------

    def projects(self) -> list[str]:
        """The projects that can be chosen, by name; the first hundred."""
        answer = told(project_routes.list_projects(self.context, self.caller(), None, 100))
        return [project["id"] for project in answer["data"]]

    def usage(self, period: Period, dimensions: Sequence[str]) -> list[dict[str, Any]]:
        """Sums of the cost rows by these dimensions."""
        seen = self.acting(Right.READ).seen
        return Analytics(self.context.database).usage(seen, period, dimensions)

    def savings(self, period: Period, dimensions: Sequence[str]) -> list[dict[str, Any]]:
        """What the jobs of ended batches cost, and the strongest model alone would have cost, by
        these dimensions; a single row without any.
        """
        seen = self.acting(Right.READ).seen
        return Analytics(self.context.database).savings(seen, period, dimensions)

    def hints(self, period: Period) -> list[dict[str, Any]]:
        """What could be paid less for."""
        return Analytics(self.context.database).hints(self.acting(Right.READ).seen, period)

    def stats(self, period: Period) -> dict[str, Any]:
        """Everything in a few figures."""
        return Analytics(self.context.database).stats(self.acting(Right.READ).seen, period)

    def budget(self, project: str) -> dict[str, Any]:
        """A project's windows."""
        acting = self.acting(Right.READ)
        return self.context.budget.read(self.context.access.project(acting.caller, project))

    def set_budget(self, project: str, limits: Mapping[str, str | None]) -> dict[str, Any]:
        """Set limits: `<window>_usd`, None lifts one."""
        acting = self.acting(Right.ADMIN)
        body = project_routes.BudgetChange.model_validate({**limits, "project": project})
        return told(project_routes.set_budget(self.context, acting, body))

    def held(self) -> list[dict[str, Any]]:
        """Which limits hold jobs, and how many: {project, kind, scope, jobs}."""
        return self.context.budget.held(self.acting(Right.READ).seen)

    # What is learned ----------------------------------------------------------------------------

    def learned(self) -> dict[str, Any]:
        """What the project's outcomes say of each model per task type."""
        return self.context.outcomes.learned(self.acting(Right.READ).project)

    def forget(self, model: str | None, task_type: str | None) -> dict[str, Any]:
        """Begin anew: for one model and task type, or for all."""
        kind = None if task_type is None else TaskType(task_type)
        return self.context.outcomes.forget(self.acting(Right.ADMIN).project, model, kind)

    def routing(self) -> dict[str, Any]:
        """The project's routing policy, and its trial with what that has shown until now."""
        acting = self.acting(Right.READ)
        routing = self.context.routing.read(acting.project)
        if routing["trial"] is not None:
            routing["trial"] = self.context.routing.trial(acting.project)
        return routing

    def end_trial(self) -> dict[str, Any]:
        """Run all jobs by the project's own policy again."""
        return self.context.routing.end_trial(self.acting(Right.ADMIN).project)

    # What is around -----------------------------------------------------------------------------

    def providers(self) -> list[dict[str, Any]]:
        """Every provider of the catalog and how it is."""
        return list(told(catalog_routes.list_providers(self.context, self.caller()))["data"])

    def alerts(self) -> list[dict[str, Any]]:
        """What somebody should look at: a project's own matters; all to who sees all."""
        return open_alerts(self.context.database, self.acting(Right.READ).seen)

    def models(self) -> list[dict[str, Any]]:
        """The catalog's models, without the words that have one chosen."""
        listed = told(catalog_routes.list_models(self.context, self.caller()))["data"]
        return [each for each in listed if each["id"] in self.context.catalog.models]

    def endpoints(self, after: str | None) -> dict[str, Any]:
        """The project's webhook endpoints."""
        return told(
            webhook_routes.list_endpoints(self.context, self.acting(Right.READ), after, PAGE)
        )

    def endpoint(self, endpoint_id: str) -> dict[str, Any]:
        """One of them."""
        return told(webhook_routes.get_endpoint(endpoint_id, self.context, self.acting(Right.READ)))

    def new_endpoint(self, url: str, name: str) -> dict[str, Any]:
        """Make one; its secret is in this answer and nowhere else."""
        body = webhook_routes.NewEndpoint(url=url, name=name or "webhook")
        acting = self.acting(Right.SUBMIT)
        return webhook_routes.made_endpoint(self.context, acting, body, self.arrival(acting))

    def try_endpoint(self, endpoint_id: str) -> dict[str, Any]:
        """Send it an event that is made up; waits for the first try's outcome."""
        acting = self.acting(Right.SUBMIT)
        return told(webhook_routes.try_endpoint(endpoint_id, self.context, acting))

    def deliveries(self, endpoint_id: str, after: str | None) -> dict[str, Any]:
        """What was sent to an endpoint, newest first."""
        acting = self.acting(Right.READ)
        return told(webhook_routes.list_deliveries(endpoint_id, self.context, acting, after, PAGE))

    def redeliver(self, delivery_id: str) -> dict[str, Any]:
        """Send a delivery again."""
        return told(webhook_routes.redeliver(delivery_id, self.context, self.acting(Right.SUBMIT)))


def told(response: Response) -> dict[str, Any]:
    """What an endpoint answers."""
    answer: dict[str, Any] = orjson.loads(bytes(response.body))
    return answer


def desk_of(request: HTTPConnection) -> Desk:
    """The desk that the door gave to whoever asks for a page."""
    desk: object = getattr(request.state, "desk", None)
    if not isinstance(desk, Desk):
        raise UsageError("a page was asked for without passing the door")
    return desk
