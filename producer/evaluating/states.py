"""What is known of a prompt while its models are asked, and how such prompts fared. Pure.

A state says who was asked and whose answers say the same; which model is asked next depends on
nothing else, but the prompt's kind. A prompt's state on some models follows from its state on more
of them, so all prompts in a state got there by the same calls: the sums of a state are all that is
needed to choose what to do in it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final

from producer.evaluating.outcomes import Outcome

State = str
"""A letter for each model: `.` not asked, `-` nothing to compare, else the same for the same."""
UNASKED: Final = "."
UNREAD: Final = "-"

Sums = list[float]
"""Prompts, then of each model: cost in nano-dollars; score; and, where nobody sums states, squared
score and score times the strong model's.
"""


def state_of(keys: Sequence[str | None], asked: Collection[int]) -> State:
    """The state of a prompt with these answers when these models, by place, were asked."""
    letters: dict[str, str] = {}
    told = []
    for place, key in enumerate(keys):
        if place not in asked:
            told.append(UNASKED)
        elif key is None or key == UNREAD:
            told.append(UNREAD)
        else:
            told.append(letters.setdefault(key, chr(ord("a") + len(letters))))
    return "".join(told)


def asked_in(state: State) -> int:
    """How many were asked."""
    return len(state) - state.count(UNASKED)


def voices(state: State) -> list[int]:
    """The places of the models of which one's answer may be taken: the first of each group."""
    first = [state.index(letter) for letter in sorted(set(state) - {UNASKED, UNREAD})]
    return first + [place for place, letter in enumerate(state) if letter == UNREAD]


def largest_group(state: State) -> tuple[int, int]:
    """How many say the same, of those who say it most often, and the place of their first."""
    groups = [
        (state.count(letter), -state.index(letter)) for letter in set(state) - {UNASKED, UNREAD}
    ]
    count, place = max(groups, default=(0, 0))
    return count, -place


class Graph:
    """Every state that these prompts can be in when at most so many models are asked."""

    def __init__(self, patterns: Collection[State], models: int, most: int) -> None:
        subsets = [
            frozenset(chosen)
            for count in range(most + 1)
            for chosen in combinations(range(models), count)
        ]
        self.root: State = UNASKED * models
        self.of: Mapping[State, tuple[State, ...]] = {
            pattern: tuple(state_of(pattern, asked) for asked in subsets) for pattern in patterns
        }
        """All states of a prompt, by its state when everybody was asked."""
        found = {state for states in self.of.values() for state in states}
        self.last_first: tuple[State, ...] = tuple(sorted(found, key=lambda s: (-asked_in(s), s)))
        self._next = self._steps(most)

    def _steps(self, most: int) -> Mapping[tuple[State, int], tuple[State, ...]]:
        steps: dict[tuple[State, int], set[State]] = defaultdict(set)
        for pattern, states in self.of.items():
            for state in set(states):
                if asked_in(state) < most:
                    for place, letter in enumerate(state):
                        if letter == UNASKED:
                            steps[state, place].add(self.after(pattern, state, place))
        return {step: tuple(sorted(found)) for step, found in steps.items()}

    def next(self, state: State) -> Iterator[tuple[int, tuple[State, ...]]]:
        """Who may be asked in a state, and which states may follow."""
        for place in range(len(state)):
            if (found := self._next.get((state, place))) is not None:
                yield place, found

    @staticmethod
    def after(pattern: State, state: State, place: int) -> State:
        """The state of a prompt of this pattern when one more was asked."""
        asked = {at for at, letter in enumerate(state) if letter != UNASKED}
        return state_of(pattern, asked | {place})


class Book:
    """What every prompt said, in sums by part, kind and pattern."""

    def __init__(
        self,
        outcomes: Sequence[Outcome],
        names: Sequence[str],
        strong: str,
        parts: Sequence[int],
        kinds: Sequence[int],
    ) -> None:
        self.names = tuple(names)
        self.sums: dict[tuple[int, int, State], Sums] = {}
        everybody = range(len(names))
        for outcome, part, kind in zip(outcomes, parts, kinds, strict=True):
            said = [outcome.models[name] for name in names]
            pattern = state_of([one.answer_key for one in said], everybody)
            best = outcome.models[strong].score
            row = [1.0, *(float(one.cost_nusd or 0) for one in said), *(one.score for one in said)]
            row += [*(one.score**2 for one in said), *(one.score * best for one in said)]
            add(self.sums.setdefault((part, kind, pattern), [0.0] * len(row)), row)

    @property
    def patterns(self) -> set[State]:
        """The states in which prompts are when everybody was asked."""
        return {pattern for _, _, pattern in self.sums}

    def by_state(
        self, graph: Graph, parts: Collection[int], weights: Sequence[float]
    ) -> dict[State, Sums]:
        """The sums of each state over some parts, a prompt of each kind counted by its weight."""
        by_pattern: dict[State, Sums] = {}
        width = 1 + 2 * len(self.names)
        for (part, kind, pattern), sums in self.sums.items():
            if part in parts and weights[kind]:
                add(by_pattern.setdefault(pattern, [0.0] * width), sums[:width], weights[kind])
        found: dict[State, Sums] = {}
        for pattern, sums in by_pattern.items():
            for state in graph.of[pattern]:
                add(found.setdefault(state, [0.0] * width), sums)
        return found


def add(to: Sums, more: Sequence[float], weight: float = 1.0) -> None:
    """Add to sums in place."""
    for place, value in enumerate(more):
        to[place] += weight * value
