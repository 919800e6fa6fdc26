"""A project's routing policy: the catalog's defaults with the project's own wishes over them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from shared.catalog.spec import RoutingSettings
from shared.deciding.routing_policy import RoutingPolicy, Rubric
from shared.domain.inference import Preferences, TaskType
from shared.domain.money import nusd_from_usd

_PLAIN: Final = (
    "max_climbs", "default_max_tokens", "allow_downgrade", "agreement", "max_latency_s",
    "classify_with", "classify_below",
)  # fmt: skip
_MODELS: Final = ("allowed_models", "preferred_models", "fallback_models")

AUTO: Final = "auto"
"""The wish for agreement that also lets prompts start lower where two cheap calls pay."""


def policy_of(defaults: RoutingSettings, wishes: Mapping[str, Any]) -> RoutingPolicy:
    """The policy from the catalog's [routing] table and a project's `routing` object: any of
    those of `_PLAIN`, `_MODELS`, preferences and max_cost_usd; and by_task_type, with the same but
    for what is no matter of routing a prompt.
    """
    by_task_type = tuple(
        (TaskType(name), tuple(sorted(_fields(own).items())))
        for name, own in sorted((wishes.get("by_task_type") or {}).items())
    )
    return replace(RoutingPolicy.of(defaults), by_task_type=by_task_type, **_fields(wishes))


def _fields(wishes: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: wishes[name] for name in _PLAIN if wishes.get(name) is not None}
    kept |= {name: tuple(wishes[name]) for name in _MODELS if wishes.get(name) is not None}
    if wishes.get("preferences"):
        kept["preferences"] = Preferences(**wishes["preferences"])
    if wishes.get("rubric"):
        kept["rubric"] = Rubric(**wishes["rubric"])
    if kept.get("agreement") == AUTO:
        kept |= {"agreement": True, "starts_lower": True}
    if wishes.get("max_cost_usd") is not None:
        kept["max_cost_nusd"] = nusd_from_usd(wishes["max_cost_usd"])
    return kept
