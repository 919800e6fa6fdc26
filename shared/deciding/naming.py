"""What a request may give as its `model`: a mode, a tier, or a model of the catalog. Pure."""

from difflib import get_close_matches
from typing import Final

from shared.catalog.spec import Catalog
from shared.domain.decisions import Mode, NoRoute
from shared.domain.inference import Tier

_MODES = {
    Mode.AUTO.value: Mode.AUTO,
    Mode.CHEAPEST.value: Mode.CHEAPEST,
    Mode.BEST.value: Mode.BEST,
}

TIERS: Final = {tier.value: tier for tier in Tier}


def known_model_names(catalog: Catalog) -> frozenset[str]:
    """Everything a request may give as `model`: modes, tiers and the catalog's models."""
    return frozenset((*_MODES, *TIERS, *catalog.models))


def mode_of(model: str) -> Mode:
    """How a request's `model` chooses."""
    return _MODES.get(model) or (Mode.TIER if model in TIERS else Mode.MANUAL)


def not_found(name: str, catalog: Catalog) -> NoRoute:
    """Why a request that names what nothing is called goes nowhere, and what it may have meant."""
    near = get_close_matches(name, known_model_names(catalog), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return NoRoute("model_not_found", f"no model, tier or mode is called {name[:100]!r}{hint}")
