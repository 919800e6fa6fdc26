"""Projects, their keys and their budgets."""

from datetime import timedelta
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from producer.accounts.access import Right, checked_project_id
from producer.accounts.purse import WINDOWS
from producer.api.answers import JsonResponse, list_object
from producer.api.asking import Administering, After, Asking, Context, Limit, Reading
from producer.api.objects import key_object, project_object
from producer.api.openapi import errors
from producer.api.shapes.basics import Page, Usd
from producer.api.shapes.files import DeletedShape
from producer.api.shapes.projects import BudgetShape, KeyShape, NewKeyShape, ProjectShape
from producer.options import MAX_LABEL, text, usd
from shared.db.repositories import projects
from shared.db.repositories.projects import NewKey
from shared.errors import ConflictError, NotFoundError, UsageError

router = APIRouter(tags=["projects"])


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Limits(_Body):
    day_usd: Usd | None = None
    month_usd: Usd | None = None
    total_usd: Usd | None = None

    def in_nusd(self) -> dict[str, int | None]:
        """The limits that were named, null ones lifted."""
        return {
            window: None if given is None else usd(given, f"{window}_usd")
            for window in WINDOWS
            if f"{window}_usd" in self.model_fields_set
            for given in (getattr(self, f"{window}_usd"),)
        }


class NewProject(_Limits):
    """A project's name, which is its id, and its limits."""

    name: str


class BudgetChange(_Limits):
    """Limits to set; null lifts one, what is not named stays."""

    project: str | None = None


class NewKeyBody(_Body):
    """What a key may do."""

    project: str | None = None
    name: str = "key"
    scopes: list[Right] = Field(default=[Right.SUBMIT, Right.READ], min_length=1)
    requests_per_minute: int | None = Field(default=None, ge=1, le=2**31 - 1)
    tokens_per_day: int | None = Field(default=None, ge=1, le=2**62)
    spend_limit_usd: Usd | None = None
    expires_in_s: int | None = Field(default=None, ge=1, le=10 * 366 * 86400)


class KeyChange(_Body):
    """A key's new spend limit."""

    spend_limit_usd: Usd


@router.post("/v1/projects", response_model=ProjectShape, responses=errors(409))
def create_project(context: Context, caller: Asking, body: NewProject) -> Response:
    """Make a project (admin key only)."""
    caller.require_admin()
    name = checked_project_id(body.name)
    with context.database.transaction() as connection:
        limits = body.in_nusd()
        if not projects.create(connection, name, context.clock(), limits=limits):
            raise ConflictError(
                "there is a project of this name", code="project_exists", param="name"
            )
        return JsonResponse(project_object(projects.get(connection, name)))


@router.get("/v1/projects", response_model=Page[ProjectShape])
def list_projects(
    context: Context, caller: Asking, after: After = None, limit: Limit = 100
) -> Response:
    """All projects; for a project's own key, that one."""
    caller.require(Right.READ)
    with context.database.reading() as connection:
        if caller.project_id is not None:
            rows = [projects.get(connection, caller.project_id)]
        else:
            rows = list(projects.page(connection, limit=limit + 1, after=after))
    found = [project_object(row) for row in rows[:limit]]
    return JsonResponse(list_object(found, has_more=len(rows) > limit))


@router.post("/v1/keys", response_model=NewKeyShape)
def create_key(context: Context, acting: Administering, body: NewKeyBody) -> Response:
    """Make a key; its text is in this answer and nowhere else."""
    now = context.clock()
    project = context.access.project(acting.caller, body.project, acting.seen)
    new = NewKey(
        project_id=project,
        name=text(body.name, "name", MAX_LABEL) or "key",
        scopes=[right.value for right in dict.fromkeys(body.scopes)],
        requests_per_minute=body.requests_per_minute,
        tokens_per_day=body.tokens_per_day,
        spend_limit_nusd=(
            None if body.spend_limit_usd is None else usd(body.spend_limit_usd, "spend_limit_usd")
        ),
        expires_at=(
            None if body.expires_in_s is None else now + timedelta(seconds=body.expires_in_s)
        ),
    )
    with context.database.transaction() as connection:
        row, key = projects.create_key(connection, new, now)
    return JsonResponse(key_object(row, key))


@router.get("/v1/keys", response_model=Page[KeyShape])
def list_keys(
    context: Context, acting: Administering, after: After = None, limit: Limit = 100
) -> Response:
    """A project's keys, without their texts."""
    with context.database.reading() as connection:
        rows = projects.keys_page(connection, acting.project, limit=limit + 1, after=after)
    found = [key_object(row) for row in rows[:limit]]
    return JsonResponse(list_object(found, has_more=len(rows) > limit))


@router.patch("/v1/keys/{key_id}", response_model=KeyShape, responses=errors(409))
def change_key(key_id: str, context: Context, acting: Administering, body: KeyChange) -> Response:
    """Change a key's spend limit; jobs that it held go on by themselves."""
    limit = usd(body.spend_limit_usd, "spend_limit_usd")
    return JsonResponse(key_object(context.budget.set_key_limit(acting.seen, key_id, limit)))


@router.delete("/v1/keys/{key_id}", response_model=DeletedShape)
def revoke_key(key_id: str, context: Context, acting: Administering) -> Response:
    """Make a key useless."""
    with context.database.transaction() as connection:
        row = projects.revoke_key(connection, key_id, acting.seen, context.clock())
    if row is None:
        raise NotFoundError("there is no such key in this project", code="key_not_found")
    context.access.forget(key_id)
    return JsonResponse({"id": key_id, "object": "key.deleted", "deleted": True})


@router.get("/v1/budget", response_model=BudgetShape)
def read_budget(context: Context, acting: Reading) -> Response:
    """A project's windows with limit, spent, reserved and remaining amounts."""
    return JsonResponse(context.budget.read(acting.project))


@router.put("/v1/budget", response_model=BudgetShape)
def set_budget(
    context: Context,
    acting: Administering,
    body: BudgetChange,
) -> Response:
    """Set limits of a project."""
    limits: dict[str, Any] = body.in_nusd()
    if not limits:
        raise UsageError(
            "name at least one of day_usd, month_usd, total_usd", code="missing_required_parameter"
        )
    where = context.access.project(acting.caller, body.project, acting.seen)
    return JsonResponse(context.budget.set_limits(where, limits))
