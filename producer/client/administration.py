"""The part of the client that manages: budgets, projects, keys, templates, webhooks; and reads the
catalog.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, TypeVar

from producer.client import calls
from producer.client.answers import Json
from producer.client.calls import Call, Usd, path
from producer.client.connection import Connection
from producer.client.listing import Listing

ThingT = TypeVar("ThingT")


class Administration:
    """Verbs over one connection. `project`: where the admin key acts; None is its default."""

    def __init__(self, connection: Connection, project: str | None) -> None:
        self._connection = connection
        self._project = project

    async def budget(self, project: str | None = None) -> Json:
        """`{project, windows: [{window, period, limit_nusd, spent_nusd, ...}]}`."""
        return await self._json(calls.get(path("budget"), project=project))

    async def set_budget(self, /, project: str | None = None, **limits_usd: Usd | None) -> Json:
        """Set `day_usd`, `month_usd`, `total_usd`; None lifts a limit, what is not named stays."""
        body: dict[str, Any] = {
            name: None if limit is None else str(limit) for name, limit in limits_usd.items()
        }
        if (where := project or self._project) is not None:
            body["project"] = where
        return await self._json(calls.put(path("budget"), body))

    async def overview(self) -> Json:
        """The whole mill at this moment (admin): what runs, waits, costs and is wrong."""
        return await self._json(calls.get(path("overview")))

    # -- looking back ------------------------------------------------------------------------

    async def usage(
        self,
        by: str = "day",
        *,
        first: str | None = None,
        last: str | None = None,
        project: str | None = None,
    ) -> Json:
        """Attempts, tokens and costs, grouped `by` day, model, provider, project, purpose or
        task_type (several by commas), from the `first` day to the `last` one.
        """
        return await self._of_period("usage", first, last, project, group_by=by)

    async def savings(
        self,
        by: str = "day",
        *,
        first: str | None = None,
        last: str | None = None,
        project: str | None = None,
    ) -> Json:
        """What jobs cost and what the strongest model alone would have, grouped `by` day, project,
        task_type, model or tier.
        """
        return await self._of_period("savings", first, last, project, group_by=by)

    async def hints(
        self, *, first: str | None = None, last: str | None = None, project: str | None = None
    ) -> Json:
        """What could be paid less for, the largest sum first."""
        return await self._of_period("hints", first, last, project)

    def requests(self, /, project: str | None = None, **filters: str | None) -> Listing[Json]:
        """Requests that ended, newest first; of a `status`, `model`, `provider`, `tier`,
        `task_type` or `batch_id`; `search`: what stands in their prompt or custom_id.
        """
        where = path("analytics", "requests")
        return self._things(where, lambda item: item, None, project=project, **filters)

    async def _of_period(
        self, what: str, first: str | None, last: str | None, project: str | None, **more: str
    ) -> Json:
        asked = {"from": first, "to": last, "project": project, **more}
        return await self._json(calls.get(path("analytics", what), **asked))

    # -- how a project is run ------------------------------------------------------------------

    async def cache(self, project: str | None = None) -> Json:
        """`{project, keep_s}`: for how long answers are kept; None where they are not."""
        return await self._json(calls.get(path("cache"), project=project))

    async def set_cache(self, project: str | None = None, *, keep_s: int | None) -> Json:
        """Keep a project's answers for so long, beginning with an empty cache; None keeps none."""
        body: dict[str, Any] = {"keep_s": keep_s}
        if (where := project or self._project) is not None:
            body["project"] = where
        return await self._json(calls.put(path("cache"), body))

    async def outcomes(self, project: str | None = None) -> Json:
        """`{project, data: [{model, task_type, prior, success, at_least, quality_shift, ...}]}`:
        what was learned of the models.
        """
        return await self._json(calls.get(path("outcomes"), project=project))

    async def forget_outcomes(
        self,
        project: str | None = None,
        *,
        model: str | None = None,
        task_type: str | None = None,
    ) -> Json:
        """Forget what was learned: of a model, a task type, or all."""
        named = {"project": project, "model": model, "task_type": task_type}
        return await self._json(calls.delete(path("outcomes"), **named))

    async def routing(self, project: str | None = None) -> Json:
        """`{project, policy, trial}`: what a project wishes of routing."""
        return await self._json(calls.get(path("routing"), project=project))

    async def set_routing(self, /, project: str | None = None, **wishes: object) -> Json:
        """Set `preferences`, `allowed_models`, `preferred_models`, `fallback_models`,
        `max_latency_s`, `max_cost_usd`, `max_climbs`, `default_max_tokens`, `allow_downgrade`,
        `agreement`, `classify_with`, `classify_below`, `rubric`, `by_task_type`; None leaves one
        to the catalog, others stay.
        """
        if (where := project or self._project) is not None:
            wishes["project"] = where
        return await self._json(calls.put(path("routing"), wishes))

    async def begin_trial(
        self, name: str, policy: Json, share: float = 0.5, project: str | None = None
    ) -> Json:
        """Run a share of a project's jobs by its policy with these wishes changed."""
        body = {"name": name, "share": share, "policy": policy, "project": project or self._project}
        return await self._json(calls.post(path("routing", "trial"), body))

    async def trial(self, project: str | None = None) -> Json:
        """What the trial has shown: which policy is better, and whether by chance."""
        return await self._json(calls.get(path("routing", "trial"), project=project))

    async def end_trial(self, project: str | None = None) -> Json:
        """End the trial; what it has shown."""
        return await self._json(calls.delete(path("routing", "trial"), project=project))

    def projects(self) -> Listing[Json]:
        """All projects (admin)."""
        return self._listed(path("projects"))

    async def create_project(self, /, name: str, **settings: object) -> Json:
        """Make a project (admin)."""
        return await self._json(calls.post(path("projects"), {"name": name, **settings}))

    def api_keys(self, project: str | None = None) -> Listing[Json]:
        """A project's keys, without their secrets."""
        return self._listed(path("keys"), project=project)

    async def create_key(self, /, **fields: object) -> Json:
        """Make a key: `project, name, scopes, requests_per_minute, tokens_per_day, spend_limit_usd,
        expires_in_s`; its `key` is shown this once.
        """
        return await self._json(calls.post(path("keys"), fields))

    async def limit_key(self, key_id: str, spend_limit_usd: Usd) -> Json:
        """Change the spend limit of a key that has one."""
        body = {"spend_limit_usd": str(spend_limit_usd)}
        return await self._json(calls.patch(path("keys", key_id), body))

    async def revoke_key(self, key_id: str) -> Json:
        """Make a key useless."""
        return await self._json(calls.delete(path("keys", key_id)))

    def models(self) -> Listing[Json]:
        """What may be named as `model`: words such as `auto` (owned by `promptmill`), and the
        catalog's models.
        """
        return self._listed(path("models"))

    def providers(self) -> Listing[Json]:
        """The catalog's providers and how they are."""
        return self._listed(path("providers"))

    # -- templates ---------------------------------------------------------------------------

    def templates(self) -> Listing[Json]:
        """The newest version of each template, by name."""
        return self._listed(path("templates"))

    async def template(self, reference: str) -> Json:
        """A template by `name` (its newest version) or `name@version`."""
        return await self._json(calls.get(path("templates", reference)))

    def template_versions(self, name: str) -> Listing[Json]:
        """All versions of a template, the newest first."""
        return self._listed(path("templates", name, "versions"))

    async def create_template(self, name: str, template: str | Json) -> Json:
        """Make the next version: a prompt's text with {{ variables }}, or a line's fields. One
        that says the same as the newest version makes none.
        """
        body = {"name": name, "template": template}
        return await self._json(calls.post(path("templates"), body, repeatable=True))

    async def delete_template(self, name: str) -> Json:
        """Take a template with all its versions out of use."""
        return await self._json(calls.delete(path("templates", name)))

    # -- webhooks ----------------------------------------------------------------------------

    def webhooks(self) -> Listing[Json]:
        """The project's webhook endpoints, without their secrets."""
        return self._listed(path("webhook_endpoints"))

    async def create_webhook(
        self, url: str, event_types: list[str] | None = None, name: str = ""
    ) -> Json:
        """Make an endpoint; its `signing_secret` is shown this once."""
        body = {"url": url, "event_types": event_types, "name": name or None}
        return await self._json(calls.post(path("webhook_endpoints"), body))

    async def delete_webhook(self, endpoint_id: str) -> Json:
        """Remove an endpoint."""
        return await self._json(calls.delete(path("webhook_endpoints", endpoint_id)))

    async def test_webhook(self, endpoint_id: str, event_type: str | None = None) -> Json:
        """Send a made-up event to an endpoint."""
        body = {"event_type": event_type}
        return await self._json(calls.post(path("webhook_endpoints", endpoint_id, "test"), body))

    def deliveries(self, endpoint_id: str) -> Listing[Json]:
        """What was sent to an endpoint, and with which outcome; newest first."""
        return self._listed(path("webhook_endpoints", endpoint_id, "deliveries"))

    async def redeliver(self, delivery_id: str) -> Json:
        """Send a delivery again."""
        return await self._json(calls.post(path("webhook_deliveries", delivery_id, "redeliver")))

    async def _json(self, call: Call) -> Json:
        return await self._connection.json(call)

    def _listed(self, where: str, project: str | None = None) -> Listing[Json]:
        return self._things(where, lambda item: item, project=project)

    def _things(
        self,
        where: str,
        read: Callable[[Json], ThingT],
        limit: int | None = None,
        *,
        project: str | None = None,
        **filters: str | None,
    ) -> Listing[ThingT]:
        """The items of a list object, following its cursor; at most `limit` of them. A page that a
        filter left empty is followed by the next one.
        """

        async def pages() -> AsyncGenerator[Sequence[ThingT]]:
            after, left = None, limit
            while left is None or left > 0:
                asked = {"after": after, "project": project, **filters}
                page = await self._json(calls.get(where, **asked))
                items: list[Json] = page.get("data") or []
                yield [read(item) for item in items[:left]]
                left = None if left is None else left - len(items)
                before, after = after, page.get("last_id") or (items[-1]["id"] if items else None)
                if not page.get("has_more") or after in (None, before):
                    return

        return Listing(pages)
