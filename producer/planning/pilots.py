"""The choice of a pilot's lines: in proportion to the kinds of prompts there are. Pure."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

from producer.intake import ValidLine
from producer.planning.terms import Terms
from shared.deciding.naming import mode_of
from shared.deciding.piloting import cluster_of, lines_for
from shared.deciding.routing import route
from shared.domain.decisions import Mode, Route


@dataclass(frozen=True, slots=True)
class Pilot:
    """A pilot before it runs. lines: the cluster of each of its lines. clusters: how many jobs of
    the rest are usually asked of which tier first. Without lines there is none: what is routed is
    the usual way, or, with a limit on the loss, the strongest.
    """

    lines: dict[int, str]
    clusters: dict[str, dict[str, int]]
    max_quality_loss: float | None

    def to_dict(self) -> dict[str, Any]:
        """The form that is stored."""
        return {
            "lines": {str(line): cluster for line, cluster in self.lines.items()},
            "clusters": self.clusters,
            "max_quality_loss": self.max_quality_loss,
        }


def pilot_of(
    kept: list[ValidLine], jobs: int, max_quality_loss: float | None, terms: Terms
) -> Pilot:
    """The pilot of a batch of `jobs` jobs of which these lines were looked at, in input order."""
    strata: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for line in kept:
        request = line.request
        if request.embed is not None or mode_of(request.model) is not Mode.AUTO:
            continue
        classification = terms.classifier.classify(request)
        routed = route(request, classification, terms.catalog, terms.policy)
        if isinstance(routed, Route):
            strata[cluster_of(classification)].append((line.line, routed.rungs[0].tier.value))
    free = sum(map(len, strata.values()))
    scale = jobs / len(kept) if kept else 0.0
    wanted = min(lines_for(round(free * scale), max_quality_loss), free)
    in_order = [(line, cluster) for cluster in sorted(strata) for line, _ in strata[cluster]]
    picked = [in_order[place * free // wanted] for place in range(wanted)]
    clusters = {
        cluster: {tier: round(count * scale) for tier, count in Counter(t for _, t in own).items()}
        for cluster, own in strata.items()
    }
    return Pilot(dict(sorted(picked)), clusters, max_quality_loss)
