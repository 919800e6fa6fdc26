"""Classifiers of others: by import path, for one project or all, and never fatal to a prompt."""

from math import nan

import pytest

from shared.deciding.classification.plugged import Classifiers
from shared.domain.decisions import Classification
from shared.domain.inference import Request, TaskType
from shared.errors import ConfigurationError

HERE = "tests.unit.deciding.test_plugged_classifiers"
POEM = Request(messages=({"role": "user", "content": "Write a poem about rain."},))


class Stubborn:
    def classify(self, request: Request) -> Classification:  # noqa: ARG002
        return Classification(TaskType.ANALYSIS, 0.5, 0.9, ("always",), source="mine")


class Broken:
    def classify(self, request: Request) -> Classification:
        raise KeyError(request.last_user_text)


class Unbounded:
    def classify(self, request: Request) -> Classification:  # noqa: ARG002
        return Classification(TaskType.ANALYSIS, 7.0, 0.9)


def hard(request: Request, decided: Classification) -> float:
    return 0.9


def no_number(request: Request, decided: Classification) -> float:
    return nan


def nothing() -> None:
    return None


def test_a_project_has_its_own_classifier_and_the_others_the_shipped_one() -> None:
    found = Classifiers({"mine": f"{HERE}:Stubborn"})
    assert found.of("mine").classify(POEM).source == "mine"
    assert found.of("other").classify(POEM).task_type is TaskType.CREATIVE


def test_a_star_stands_for_the_projects_that_are_not_named() -> None:
    found = Classifiers({"*": f"{HERE}:Stubborn"}, {"hard": f"{HERE}:hard"})
    assert found.of("any").classify(POEM).difficulty == 0.5
    both = found.of("hard").classify(POEM)
    assert (both.source, both.difficulty) == ("mine", 0.9)


def test_a_difficulty_function_alone_keeps_the_shipped_task_type() -> None:
    decided = Classifiers(difficulties={"p": f"{HERE}:hard"}).of("p").classify(POEM)
    assert decided.task_type is TaskType.CREATIVE
    assert decided.difficulty == 0.9


@pytest.mark.parametrize(
    "found",
    [
        Classifiers({"*": f"{HERE}:Broken"}),
        Classifiers({"*": f"{HERE}:Unbounded"}),
        Classifiers(difficulties={"*": f"{HERE}:no_number"}),
    ],
)
def test_what_fails_is_replaced_by_the_shipped_one_and_says_so_without_the_prompt(
    found: Classifiers,
) -> None:
    decided = found.of("p").classify(POEM)
    assert decided.task_type is TaskType.CREATIVE
    assert decided.reasons[0].startswith("the project's classifier failed: ")
    assert "rain" not in " ".join(decided.reasons)


@pytest.mark.parametrize("path", ["", "nowhere:x", f"{HERE}:absent", HERE, f"{HERE}:POEM", ":x"])
def test_a_path_that_leads_nowhere_is_refused_at_the_start(path: str) -> None:
    with pytest.raises(ConfigurationError, match="PROMPTMILL_CLASSIFIERS"):
        Classifiers({"*": path})
    with pytest.raises(ConfigurationError, match="PROMPTMILL_DIFFICULTIES"):
        Classifiers(difficulties={"*": path})


def test_what_gives_no_classifier_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigurationError, match="no `classify`"):
        Classifiers({"*": f"{HERE}:nothing"})
