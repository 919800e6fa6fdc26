"""What a plan is made by."""

from dataclasses import dataclass

from producer.planning.duration import Room
from shared.catalog.spec import Catalog
from shared.deciding.classification.classifier import Classifier
from shared.deciding.expectations import Expectations
from shared.deciding.routing_policy import RoutingPolicy


@dataclass(frozen=True, slots=True)
class Terms:
    """Who may be asked, how it is chosen, what is expected of it, and where there is room."""

    catalog: Catalog
    policy: RoutingPolicy
    classifier: Classifier
    expectations: Expectations
    room: Room
