"""Prompt templates of a project: named, versioned, and used by lines as `template` and `vars`."""

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from producer.api.answers import JsonResponse, list_object
from producer.api.asking import Acting, After, Context, Limit, Reading, Submitting
from producer.api.objects import template_object
from producer.api.shapes.basics import Page
from producer.api.shapes.bodies import body_of
from producer.api.shapes.files import DeletedShape
from producer.api.shapes.projects import TemplateShape
from producer.bootstrap import ProducerContext
from producer.intake.json_line import parse_line
from producer.intake.refusal import Refusal
from shared.errors import UsageError

router = APIRouter(tags=["templates"])

_KNOWN: Final = ("name", "template", "project")
_BODY: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["name", "template"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$", "example": "summary"},
        "template": {
            "oneOf": [{"type": "string"}, {"type": "object"}],
            "example": "Summarize in {{ words }} words: {{ text }}",
        },
        "project": {"anyOf": [{"type": "string"}, {"type": "null"}]},
    },
}


@router.post(
    "/v1/templates",
    response_model=TemplateShape,
    openapi_extra=body_of({"application/json": _BODY}),
)
async def create_template(request: Request, context: Context, acting: Submitting) -> Response:
    """Make a template, or the next version of it: a text, or a line's fields with texts.

    The newest version is answered again where it says the same, so repeating a call is safe.
    """
    return await run_in_threadpool(_made, await request.body(), context, acting)


def _made(raw: bytes, context: ProducerContext, acting: Acting) -> Response:
    try:
        body = parse_line(raw)
    except Refusal as refusal:
        message = refusal.message.replace("the line", "the body").replace("a line", "the body")
        raise UsageError(message, code=refusal.code) from None
    for given in body:
        if given not in _KNOWN:
            raise UsageError(
                f"there is no such field; known are {', '.join(_KNOWN)}",
                code="unknown_parameter",
                param=given[:64],
            )
    name, project = body.get("name"), body.get("project")
    for at, value in (("name", name), ("project", "" if project is None else project)):
        if not isinstance(value, str):
            raise UsageError(f"{at} must be a string", code="invalid_type", param=at)
    where = context.access.project(acting.caller, project, acting.seen)
    row, _ = context.templates.create(where, str(name), body.get("template"))
    return JsonResponse(template_object(row))


@router.get("/v1/templates", response_model=Page[TemplateShape])
def list_templates(
    context: Context, acting: Reading, after: After = None, limit: Limit = 100
) -> Response:
    """The newest version of each template, by name."""
    rows = context.templates.page(acting.project, limit + 1, after)
    found = [template_object(row) for row in rows[:limit]]
    return JsonResponse(list_object(found, has_more=len(rows) > limit))


@router.get("/v1/templates/{reference}", response_model=TemplateShape)
def get_template(reference: str, context: Context, acting: Reading) -> Response:
    """A template by its name, or a version of it by `name@version`."""
    return JsonResponse(template_object(context.templates.get(acting.project, reference)))


@router.get("/v1/templates/{name}/versions", response_model=Page[TemplateShape])
def list_template_versions(name: str, context: Context, acting: Reading) -> Response:
    """All versions of a template, the newest first."""
    rows = context.templates.versions(acting.project, name)
    return JsonResponse(list_object([template_object(row) for row in rows], has_more=False))


@router.delete("/v1/templates/{reference}", response_model=DeletedShape)
def delete_template(reference: str, context: Context, acting: Submitting) -> Response:
    """Take a template with all its versions out of use. Jobs keep the texts they were made of,
    and the numbers of its versions are not given out again.
    """
    context.templates.delete(acting.project, reference)
    return JsonResponse({"id": reference, "object": "template.deleted", "deleted": True})
