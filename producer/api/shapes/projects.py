"""Projects, keys and budgets."""

from typing import Any, Literal

from pydantic import Field

from producer.accounts.access import Right
from producer.api.shapes.basics import Moment, Nusd, Shape, UsdText


class ProjectShape(Shape):
    """A project with its limits; null is unlimited."""

    id: str = Field(examples=["acme"])
    object: Literal["project"]
    name: str
    created_at: Moment
    day_limit_nusd: Nusd | None
    day_limit_usd: UsdText | None
    month_limit_nusd: Nusd | None
    month_limit_usd: UsdText | None
    total_limit_nusd: Nusd | None
    total_limit_usd: UsdText | None
    routing: dict[str, Any]
    cache_keep_s: int | None


class CacheShape(Shape):
    """For how long a project keeps answers; null: it keeps none."""

    object: Literal["cache"]
    project: str
    keep_s: int | None


class TemplateShape(Shape):
    """One version of a template."""

    id: str = Field(examples=["summary@3"])
    object: Literal["template"]
    project: str
    name: str
    version: int
    variables: list[str]
    template: dict[str, Any]
    created_at: Moment


class KeyShape(Shape):
    """A key without its text."""

    id: str
    object: Literal["key"]
    project: str
    name: str
    hint: str = Field(description="The last characters of its text.")
    scopes: list[Right]
    requests_per_minute: int | None
    tokens_per_day: int | None
    spend_limit_nusd: Nusd | None
    spend_limit_usd: UsdText | None
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None


class NewKeyShape(KeyShape):
    """A key that was just made, with its text, which is told this once."""

    key: str = Field(examples=["pm_..."])


class WindowShape(Shape):
    """A budget's window."""

    window: Literal["day", "month", "total"]
    period: str | None = Field(examples=["2026-11-21"])
    limit_nusd: Nusd | None
    limit_usd: UsdText | None
    spent_nusd: Nusd
    spent_usd: UsdText
    reserved_nusd: Nusd
    reserved_usd: UsdText
    remaining_nusd: Nusd | None
    remaining_usd: UsdText | None


class BudgetShape(Shape):
    """A project's windows."""

    project: str
    windows: list[WindowShape]
