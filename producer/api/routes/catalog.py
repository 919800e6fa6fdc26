"""The catalog: models that can be named, and the providers that serve them."""

import structlog
from fastapi import APIRouter
from starlette.responses import Response

from producer.accounts.access import Right
from producer.api.answers import JsonResponse, list_object
from producer.api.asking import Asking, Context
from producer.api.catalog_objects import (
    model_object,
    provider_object,
    routing_object,
    routing_words,
)
from producer.api.shapes.basics import Page
from producer.api.shapes.catalog import ModelShape, ProviderShape
from producer.watching.provider_use import Use, provider_use
from shared.errors import NotFoundError, UnavailableError
from shared.provider_health import read_all

router = APIRouter(tags=["catalog"])

log = structlog.get_logger(__name__)


@router.get("/v1/models", response_model=Page[ModelShape])
def list_models(context: Context, caller: Asking) -> Response:
    """What may be named as `model`: the words that have one chosen, and the catalog's models.

    The words (`auto`, `cheapest`, `best`, tiers) are owned by `promptmill`.
    """
    caller.require(Right.READ)
    catalog = context.catalog
    words = [routing_object(word, catalog) for word in routing_words(catalog)]
    models = [model_object(model, catalog) for model in catalog.models.values()]
    return JsonResponse(list_object(words + models))


@router.get("/v1/models/{name:path}", response_model=ModelShape)
def get_model(name: str, context: Context, caller: Asking) -> Response:
    """A model by its name, which may hold slashes, or a word that has one chosen."""
    caller.require(Right.READ)
    if name in routing_words(context.catalog):
        return JsonResponse(routing_object(name, context.catalog))
    model = context.catalog.models.get(name)
    if model is None:
        raise NotFoundError("there is no such model in the catalog", code="model_not_found")
    return JsonResponse(model_object(model, context.catalog))


@router.get("/v1/providers", response_model=Page[ProviderShape])
def list_providers(context: Context, caller: Asking) -> Response:
    """The catalog's providers: whether they can be asked, and how they are.

    How much of their limits is used is what all projects use together: the admin key sees it.
    """
    caller.require(Right.READ)
    try:
        health = read_all(context.redis)
    except UnavailableError as error:
        log.warning("the providers' health is not known", reason=error.message)
        health = None
    used = provider_use(context.database, context.clock) if caller.is_admin else None
    told = [
        provider_object(
            spec, context.catalog, health, None if used is None else used.get(name, Use())
        )
        for name, spec in context.catalog.providers.items()
    ]
    return JsonResponse(list_object(told))
