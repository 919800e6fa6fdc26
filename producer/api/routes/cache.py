"""A project's cache of answers: whether there is one, and for how long it keeps them."""

from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from starlette.responses import Response

from producer.api.answers import JsonResponse
from producer.api.asking import Administering, Context, Reading
from producer.api.shapes.projects import CacheShape
from producer.bootstrap import ProducerContext
from shared.db.repositories import projects

router = APIRouter(tags=["projects"])

LONGEST_S: Final = 30 * 86_400


class CacheChange(BaseModel):
    """For how long answers are kept from now on; null: they are not."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"keep_s": 86_400}})

    keep_s: Annotated[StrictInt, Field(ge=1, le=LONGEST_S)] | None
    project: str | None = None


@router.get("/v1/cache", response_model=CacheShape)
def read_cache(context: Context, acting: Reading) -> Response:
    """For how long the project keeps answers; `keep_s` is null where it keeps none."""
    return JsonResponse(_told(context, acting.project))


@router.put("/v1/cache", response_model=CacheShape)
def set_cache(context: Context, acting: Administering, body: CacheChange) -> Response:
    """Keep answers for so many seconds, beginning with an empty cache; null keeps none."""
    where = context.access.project(acting.caller, body.project, acting.seen)
    with context.database.transaction() as connection:
        projects.set_cache(connection, where, body.keep_s)
    return JsonResponse(_told(context, where))


def _told(context: ProducerContext, project_id: str) -> dict[str, Any]:
    with context.database.reading() as connection:
        row = projects.get(connection, project_id)
    keep_s = None if row is None else row.cache_ttl_s
    return {"object": "cache", "project": project_id, "keep_s": keep_s}
