"""Where values come from that do not belong into a file: "env:NAME" means that variable.

Resolved keys are handed to whoever sends them and are never kept in a spec, so that no spec that is
logged or shown can give one away.
"""

import re
from collections.abc import Mapping, Sequence

from shared.catalog.spec import ProviderSpec

_REFERENCE = re.compile(r"env:([A-Za-z_][A-Za-z0-9_]*)")


def variable_of(value: str) -> str | None:
    """The variable that "env:NAME" names; None for what is not such a reference."""
    match = _REFERENCE.fullmatch(value)
    return match[1] if match else None


def resolve(value: str, env: Mapping[str, str]) -> str:
    """The value itself, or what its variable holds; "" where that is not set or blank."""
    variable = variable_of(value)
    return value if variable is None else env.get(variable, "").strip()


def resolve_keys(provider: ProviderSpec, env: Mapping[str, str]) -> tuple[str, ...]:
    """The keys of a provider that are set here, each once. Empty for a keyless host, too."""
    resolved = (resolve(key, env) for key in provider.api_keys)
    return tuple(dict.fromkeys(key for key in resolved if key))


def missing(references: Sequence[str], env: Mapping[str, str]) -> str | None:
    """Why a provider with these references cannot be asked: the variables to set, if none is."""
    if not references or any(resolve(reference, env) for reference in references):
        return None
    return "set " + " or ".join(variable_of(reference) or "a key" for reference in references)
