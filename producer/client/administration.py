"""The part of the client that manages: budgets, projects, keys, webhooks; and reads the catalog."""

from collections.abc import Iterator
from typing import Any

from producer.client import calls
from producer.client.answers import Json
from producer.client.calls import Call, Usd, path
from producer.client.connection import Connection


class Administration:
    """Verbs over one connection. `project`: where the admin key acts; None is its default."""

    def __init__(self, connection: Connection, project: str | None) -> None:
        self._connection = connection
        self._project = project

    def budget(self, project: str | None = None) -> Json:
        """`{project, windows: [{window, period, limit_nusd, spent_nusd, ...}]}`."""
        return self._json(calls.get(path("budget"), project=project))

    def set_budget(self, project: str | None = None, **limits_usd: Usd | None) -> Json:
        """Set `day_usd`, `month_usd`, `total_usd`; None lifts a limit, what is not named stays."""
        body: dict[str, Any] = {
            name: None if limit is None else str(limit) for name, limit in limits_usd.items()
        }
        if (where := project or self._project) is not None:
            body["project"] = where
        return self._json(calls.put(path("budget"), body))

    def cache(self, project: str | None = None) -> Json:
        """`{project, keep_s}`: for how long answers are kept; None where they are not."""
        return self._json(calls.get(path("cache"), project=project))

    def set_cache(self, project: str | None = None, *, keep_s: int | None) -> Json:
        """Keep a project's answers for so long, beginning with an empty cache; None keeps none."""
        body: dict[str, Any] = {"keep_s": keep_s}
        if (where := project or self._project) is not None:
            body["project"] = where
        return self._json(calls.put(path("cache"), body))

    def projects(self) -> Iterator[Json]:
        """All projects (admin)."""
        return self._listed(path("projects"))

    def create_project(self, name: str, **settings: object) -> Json:
        """Make a project (admin)."""
        return self._json(calls.post(path("projects"), {"name": name, **settings}))

    def api_keys(self, project: str | None = None) -> Iterator[Json]:
        """A project's keys, without their secrets."""
        return self._listed(path("keys"), project=project)

    def create_key(self, **fields: object) -> Json:
        """Make a key: `project, name, scopes, spend_limit_usd, expires_in_s, ...`; its `key` is
        shown this once.
        """
        return self._json(calls.post(path("keys"), fields))

    def revoke_key(self, key_id: str) -> Json:
        """Make a key useless."""
        return self._json(calls.delete(path("keys", key_id)))

    def models(self) -> Iterator[Json]:
        """The catalog's models."""
        return self._listed(path("models"))

    def providers(self) -> Iterator[Json]:
        """The catalog's providers and how they are."""
        return self._listed(path("providers"))

    # -- templates ---------------------------------------------------------------------------

    def templates(self) -> Iterator[Json]:
        """The newest version of each template, by name."""
        return self._listed(path("templates"))

    def template(self, reference: str) -> Json:
        """A template by `name` (its newest version) or `name@version`."""
        return self._json(calls.get(path("templates", reference)))

    def template_versions(self, name: str) -> Iterator[Json]:
        """All versions of a template, the newest first."""
        return self._listed(path("templates", name, "versions"))

    def create_template(self, name: str, template: str | Json) -> Json:
        """Make the next version: a prompt's text with {{ variables }}, or a line's fields. One
        that says the same as the newest version makes none.
        """
        body = {"name": name, "template": template}
        return self._json(calls.post(path("templates"), body, repeatable=True))

    def delete_template(self, name: str) -> Json:
        """Take a template with all its versions out of use."""
        return self._json(calls.delete(path("templates", name)))

    # -- webhooks ----------------------------------------------------------------------------

    def webhooks(self) -> Iterator[Json]:
        """The project's webhook endpoints, without their secrets."""
        return self._listed(path("webhook_endpoints"))

    def create_webhook(
        self, url: str, event_types: list[str] | None = None, name: str = ""
    ) -> Json:
        """Make an endpoint; its `signing_secret` is shown this once."""
        body = {"url": url, "event_types": event_types, "name": name or None}
        return self._json(calls.post(path("webhook_endpoints"), body))

    def delete_webhook(self, endpoint_id: str) -> Json:
        """Remove an endpoint."""
        return self._json(calls.delete(path("webhook_endpoints", endpoint_id)))

    def test_webhook(self, endpoint_id: str, event_type: str | None = None) -> Json:
        """Send a made-up event to an endpoint."""
        body = {"event_type": event_type}
        return self._json(calls.post(path("webhook_endpoints", endpoint_id, "test"), body))

    def deliveries(self, endpoint_id: str) -> Iterator[Json]:
        """What was sent to an endpoint, and with which outcome; newest first."""
        return self._listed(path("webhook_endpoints", endpoint_id, "deliveries"))

    def redeliver(self, delivery_id: str) -> Json:
        """Send a delivery again."""
        return self._json(calls.post(path("webhook_deliveries", delivery_id, "redeliver")))

    def _json(self, call: Call) -> Json:
        return self._connection.json(call)

    def _listed(self, where: str, limit: int | None = None, **params: object) -> Iterator[Json]:
        """The items of a list object, following its cursor."""
        after, left = None, limit
        while left is None or left > 0:
            page = self._json(calls.get(where, after=after, **params))
            items: list[Json] = page.get("data") or []
            yield from items if left is None else items[:left]
            left = None if left is None else left - len(items)
            if not page.get("has_more") or not items:
                return
            after = page.get("last_id") or items[-1]["id"]
