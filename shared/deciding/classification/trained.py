"""The classifier that is shipped: rules and words together, weighed by the trained model.

The rules' cues are among the model's signals, so neither overrules the other: how far each is to
be believed was learned, and measured on sources unseen in training (docs/model_card.md).
"""

from math import log1p
from typing import Final

from shared.deciding.classification.certain import certain
from shared.deciding.classification.difficulty import difficulty_of
from shared.deciding.classification.features import Features, read_features
from shared.deciding.classification.model import Models, shipped
from shared.deciding.classification.numbers import numbers_of, open_numbers_of
from shared.deciding.classification.rules import (
    NOTHING_TO_READ,
    Cue,
    cues_of,
    is_blank,
    reasons_for,
)
from shared.deciding.classification.signals import opening_and_closing_words, signals_of
from shared.domain.decisions import Classification
from shared.domain.inference import Request, TaskType

# Of problems to reason about, the longer ones were harder, beyond what the rules give for length;
# and the rules' cues (proofs, several steps) tell as much as the words.
_USUAL_LOG_LENGTH: Final = 5.3  # 200 characters
_LENGTH_WORTH: Final = 0.08
_LONGEST: Final = 3_000
# Of a prompt without any word that the model knows: another language, or none.
_STRANGE: Final = 0.45
# The model's predictions lie closer together than the difficulties do.
_STRETCH: Final = 1.3


class TrainedClassifier:
    """The shipped models behind the `Classifier` protocol."""

    def __init__(self, models: Models | None = None) -> None:
        """`models`: others than those of the package."""
        self._models = models or shipped()

    def classify(self, request: Request) -> Classification:
        """Classify by the last user message."""
        return self.classify_text(request.last_user_text)

    def classify_text(self, prompt: str) -> Classification:
        """Classify a prompt's text alone."""
        if (known := certain(prompt)) is not None:
            return known
        features = read_features(prompt)
        if is_blank(features):
            return NOTHING_TO_READ
        cues = cues_of(features)
        task = self._models.task
        kind, confidence, depth = task.decide(
            signals_of(features, cues), opening_and_closing_words(features)
        )
        if not any(token in task.points for token in features.distinct if token.isalpha()):
            confidence = min(confidence, _STRANGE)
        return Classification(
            task_type=kind,
            difficulty=self._difficulty(features, kind, depth),
            confidence=round(confidence, 4),
            reasons=_reasons(kind, cues),
            source="trained",
        )

    def _difficulty(self, features: Features, kind: TaskType, depth: float) -> float:
        heuristic = difficulty_of(features, TaskType.COMPLEX_REASONING)
        if features.has_choices:
            numbers = numbers_of(features, heuristic)
            value = 0.5 + _STRETCH * (self._models.difficulty.predict(numbers) - 0.5)
        else:
            value = depth + self._models.depth.predict(open_numbers_of(features, heuristic))
            if kind is TaskType.COMPLEX_REASONING:
                longer = log1p(min(features.length, _LONGEST)) - _USUAL_LOG_LENGTH
                value = 0.5 * (value + heuristic + _LENGTH_WORTH * longer)
        return max(0.0, min(1.0, value))


def _reasons(kind: TaskType, cues: list[Cue]) -> tuple[str, ...]:
    return reasons_for(kind, cues) or ("its words and shape, by the trained model",)
