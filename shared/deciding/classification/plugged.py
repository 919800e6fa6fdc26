"""Classifiers and difficulty functions of others, by import path, per project.

A path is `package.module:name`. A classifier is a class (or function) that takes nothing and gives
a `Classifier`; a difficulty function takes a request and its classification, and gives 0..1. What
raises, or gives something else, is answered by the shipped classifier, and the reasons say so.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any, Final

from shared.deciding.classification.classifier import Classifier
from shared.deciding.classification.trained import TrainedClassifier
from shared.domain.decisions import Classification
from shared.domain.inference import Request
from shared.errors import ConfigurationError

ANY_PROJECT: Final = "*"
DifficultyOf = Callable[[Request, Classification], float]


class Classifiers:
    """The classifier of each project; `*` stands for those that are not named."""

    def __init__(
        self,
        paths: Mapping[str, str] | None = None,
        difficulties: Mapping[str, str] | None = None,
    ) -> None:
        """Import path by project id. Raises ConfigurationError for what cannot be imported."""
        paths, difficulties = paths or {}, difficulties or {}
        shipped = TrainedClassifier()
        named = paths.keys() | difficulties.keys() | {ANY_PROJECT}
        self._by_project = {
            project: _made(
                shipped,
                paths.get(project, paths.get(ANY_PROJECT)),
                difficulties.get(project, difficulties.get(ANY_PROJECT)),
            )
            for project in named
        }

    def of(self, project_id: str) -> Classifier:
        """The classifier for a project's prompts."""
        return self._by_project.get(project_id) or self._by_project[ANY_PROJECT]


class _Guarded:
    """Somebody's classifier, difficulty function, or both, over the shipped classifier."""

    def __init__(
        self, shipped: Classifier, own: Classifier | None, difficulty_of: DifficultyOf | None
    ) -> None:
        self._shipped = shipped
        self._own = own or shipped
        self._difficulty_of = difficulty_of

    def classify(self, request: Request) -> Classification:
        try:
            return self._decide(request)
        except Exception as error:  # noqa: BLE001 - others' code: no prompt may fail for it
            decided = self._shipped.classify(request)
            reason = f"the project's classifier failed: {type(error).__name__}"
            return replace(decided, reasons=(reason, *decided.reasons))

    def _decide(self, request: Request) -> Classification:
        decided = self._own.classify(request)
        if self._difficulty_of is not None:
            difficulty = float(self._difficulty_of(request, decided))
            decided = replace(decided, difficulty=difficulty)
        if not (0 <= decided.difficulty <= 1 and 0 <= decided.confidence <= 1):
            raise ValueError("difficulty and confidence lie in 0..1")
        # What cannot be stored and read again is found here, not when the job is recorded.
        return Classification.from_dict(decided.to_dict())


def _made(shipped: Classifier, path: str | None, difficulty_path: str | None) -> Classifier:
    own = None if path is None else _called(path, _named(path, "PROMPTMILL_CLASSIFIERS"))
    difficulty_of = (
        None if difficulty_path is None else _named(difficulty_path, "PROMPTMILL_DIFFICULTIES")
    )
    if own is None and difficulty_of is None:
        return shipped
    return _Guarded(shipped, own, difficulty_of)


def _named(path: str, setting: str) -> Any:
    module, _, name = path.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigurationError(
            f"{setting}: {path!r} cannot be imported as module:name ({error})", param=setting
        ) from error
    if not callable(found):
        raise ConfigurationError(f"{setting}: {path!r} cannot be called", param=setting)
    return found


def _called(path: str, factory: Callable[[], Any]) -> Classifier:
    made: Classifier = factory()
    if not callable(getattr(made, "classify", None)):
        raise ConfigurationError(
            f"PROMPTMILL_CLASSIFIERS: what {path!r} gives has no `classify`",
            param="PROMPTMILL_CLASSIFIERS",
        )
    return made
