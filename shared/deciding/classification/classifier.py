"""The seam behind which prompts are classified."""

from typing import Protocol

from shared.domain.decisions import Classification
from shared.domain.inference import Request


class Classifier(Protocol):
    """Says what a request is: at once, without any call, the same for the same request."""

    def classify(self, request: Request) -> Classification:
        """Task type, difficulty and confidence of a request; never raises."""
        ...
