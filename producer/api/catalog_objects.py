"""The catalog as objects: models, the words that have one chosen, providers. Pure."""

from collections.abc import Mapping
from typing import Any

from producer.intake.lines import ROUTING_WORDS
from producer.watching.provider_use import Use
from shared.catalog.spec import Catalog, ModelSpec, ProviderSpec
from shared.deciding.naming import mode_of
from shared.domain.decisions import Mode
from shared.domain.inference import Tier
from shared.provider_health import KeyHealth, KeyState


def model_object(model: ModelSpec, catalog: Catalog) -> dict[str, Any]:
    """OpenAI's model object, and what the catalog says of the model."""
    rates = model.price.base
    return {
        "id": model.name,
        "object": "model",
        "created": 0,
        "owned_by": model.provider,
        "shutdown_date": None,
        "promptmill": {
            "provider": model.provider,
            "upstream": model.upstream,
            "tier": model.tier.value,
            # Nano-dollars per token are thousandths of a dollar per million of them.
            "input_usd_per_mtok": float(rates.input / 1000),
            "output_usd_per_mtok": float(rates.output / 1000),
            "cached_input_usd_per_mtok": float(rates.cached_input / 1000),
            "context_window": model.context_window,
            "max_output_tokens": model.max_output_tokens,
            "strengths": [strength.value for strength in model.strengths],
            "capabilities": sorted(model.capabilities),
            "quality": model.quality,
            "latency_s": model.latency_s,
            "available": model.provider not in catalog.unavailable,
        },
    }


def routing_words(catalog: Catalog) -> tuple[str, ...]:
    """What may be named in a model's stead, with this catalog: a tier without models may not."""
    return tuple(
        word
        for word in ROUTING_WORDS
        if mode_of(word) is not Mode.TIER or catalog.models_of(Tier(word))
    )


def routing_object(word: str, catalog: Catalog) -> dict[str, Any]:
    """A word that has a model chosen, as OpenAI's model object: clients let it be picked."""
    mode = mode_of(word)
    models = [m.name for m in catalog.askable if mode is not Mode.TIER or m.tier == word]
    return {
        "id": word,
        "object": "model",
        "created": 0,
        "owned_by": "promptmill",
        "shutdown_date": None,
        "promptmill": {"mode": mode.value, "models": models, "available": bool(models)},
    }


def provider_object(
    spec: ProviderSpec,
    catalog: Catalog,
    health: Mapping[str, KeyHealth] | None,
    use: Use | None,
) -> dict[str, Any]:
    """A provider, whether it can be asked, how its keys are (`unknown` where health is None: Redis
    did not answer), and how much of its limits is used (None: not to be told).
    """
    reason = catalog.unavailable.get(spec.name)
    own = {
        key: state.to_dict()
        for key, state in (health or {}).items()
        if key.partition(":")[0] == spec.name
    }
    return {
        "id": spec.name,
        "object": "provider",
        "wire": spec.wire.value,
        "base_url": spec.base_url,
        "available": reason is None,
        "state": _state(reason, own, known=health is not None),
        "reason": reason or next((key["reason"] for key in own.values() if key["reason"]), None),
        "models": [model.name for model in catalog.models.values() if model.provider == spec.name],
        "max_concurrency": spec.max_concurrency,
        "rpm": spec.rpm,
        "tpm": spec.tpm,
        "use": None if use is None else use.to_dict(),
        "keys": own,
    }


def _state(reason: str | None, keys: Mapping[str, Mapping[str, Any]], *, known: bool) -> str:
    if reason is not None:
        return "unavailable"
    if not known:
        return "unknown"
    troubled = [key["state"] for key in keys.values() if key["state"] != KeyState.CLOSED]
    return str(troubled[0]) if troubled else "healthy"
