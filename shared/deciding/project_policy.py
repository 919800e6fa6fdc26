"""A project's routing policy: the catalog's defaults with the project's own wishes over them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from shared.catalog.spec import RoutingSettings
from shared.deciding.constraints import RoutingPolicy
from shared.domain.inference import Preferences


def policy_of(defaults: RoutingSettings, wishes: Mapping[str, Any]) -> RoutingPolicy:
    """The policy from the catalog's [routing] table and a project's `routing` object: any of
    preferences, allowed_models, max_climbs, default_max_tokens, allow_downgrade, agreement.
    """
    policy = RoutingPolicy.of(defaults)
    kept = {
        name: wishes[name]
        for name in ("max_climbs", "default_max_tokens", "allow_downgrade", "agreement")
        if wishes.get(name) is not None
    }
    if wishes.get("preferences"):
        kept["preferences"] = Preferences(**wishes["preferences"])
    if wishes.get("allowed_models") is not None:
        kept["allowed_models"] = tuple(wishes["allowed_models"])
    return replace(policy, **kept)
