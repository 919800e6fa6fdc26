"""`python -m benchmarks.predicting [--batches N]`: how well plans predict what batches cost.

Projects are made up: each has its own kinds of work, whose answers are shorter or longer, weaker
or better than usual. Its batches run one after the other; each is planned with what was learned
from those before it, and then its true cost is drawn. The draws are not those that the plan
assumes: besides lognormal answers there are gamma and two-humped ones, kinds of work that drift,
and groups of a batch that deviate together or apart.

What to look for: the share of batches below p95 (93 to 97 % is meant), and how far the cost lies
from p50 where enough was seen of the project.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import exp, log, sqrt
from random import Random
from statistics import median
from typing import Final

from producer.planning.batch_cost import BatchCost, batch_cost
from producer.planning.line_costs import CallCost, LineCost, answer_within
from shared.deciding.answer_kinds import MARKS, AnswerKind, kind_of_task
from shared.deciding.cost_tallies import BatchSums, Tally
from shared.deciding.estimation import EXPECTED_OUTPUT_TOKENS
from shared.deciding.expectations import Expectations
from shared.domain.inference import TaskType, Tier

_RATES: Final = {"small": (0.2, 1.2), "middle": (2.0, 12.0), "large": (4.0, 20.0)}  # nUSD*1e-3
_LADDER: Final = tuple(_RATES)
_LIMIT: Final = 1024
_SIZES: Final = (20, 100, 400)  # lines of a batch
_DAY_S: Final = 86_400.0
_TEMPLATES: Final = 5
_NEAR: Final = 0.15
_SEASONED: Final = 8  # batches seen, from which on a project counts as known

Draw = Callable[[Random, float, float], float]


def _lognormal(random: Random, mean: float, spread: float) -> float:
    variance = log(1.0 + spread**2)
    return random.lognormvariate(log(mean) - variance / 2.0, sqrt(variance))


def _gamma(random: Random, mean: float, spread: float) -> float:
    return random.gammavariate(1.0 / spread**2, mean * spread**2)


def _two_humps(random: Random, mean: float, spread: float) -> float:
    share = spread / (1.0 + spread)
    return mean * (0.4 if random.random() < 0.6 else 1.9) * (0.9 + 0.2 * random.random() * share)


@dataclass(frozen=True, slots=True)
class World:
    """How batches are drawn: the shape of answers, how far a batch lies from its project's usual
    (standard deviation of the logarithm), whether its groups do so together, and the drift a batch.
    """

    name: str
    draw: Draw
    between: float
    together: bool
    drift: float = 0.0
    templates: bool = False


WORLDS: Final = (
    World("as assumed: lognormal answers", _lognormal, 0.15, together=True),
    World("groups deviate apart", _lognormal, 0.15, together=False),
    World("gamma answers", _gamma, 0.10, together=True),
    World("two-humped answers", _two_humps, 0.10, together=False),
    World("batches of one template", _lognormal, 0.05, together=True),
    World("each batch of one of five templates", _lognormal, 0.05, together=True, templates=True),
    World("batches very unlike", _lognormal, 0.35, together=True),
    World("answers grow 2 % a batch", _lognormal, 0.10, together=True, drift=0.02),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One batch: how many its project had before it, what was expected, what it cost, and what one
    would have expected who knew all means and chances (the middle of many redraws).
    """

    seen: int
    lines: int
    expected: BatchCost
    actual: float
    known: float


@dataclass(frozen=True, slots=True)
class _Line:
    """One line: what is asked, made from which template (None: from none), with how many tokens."""

    task: TaskType
    template: int | None
    given: int

    @property
    def kind(self) -> AnswerKind:
        marks = () if self.template is None else (f"{MARKS[0]}{self.task}{self.template}",)
        return replace(kind_of_task(self.task), marks=marks)


@dataclass(frozen=True, slots=True)
class _Answer:
    taken: int
    given: int
    weak: bool


class _Project:
    """Batches of one made-up project, one after the other."""

    def __init__(self, world: World, random: Random, redraws: int) -> None:
        self._world = world
        self._random = random
        self._redraws = redraws
        templates = (None, *range(_TEMPLATES)) if world.templates else (None,)
        # A template differs from its task type, and each model from the others.
        self._usual: dict[tuple[str, TaskType, int | None], float] = {}
        self._weak: dict[tuple[str, TaskType, int | None], float] = {}
        for task in TaskType:
            for template in templates:
                own = 0.0 if template is None else random.gauss(0.0, 0.7)
                easy = random.betavariate(1.0, 4.0)
                for model in _LADDER:
                    usual = EXPECTED_OUTPUT_TOKENS[task] * exp(random.gauss(own, 0.4))
                    self._usual[model, task, template] = usual
                    share = random.betavariate(1.0, 8.0)
                    self._weak[model, task, template] = share if template is None else easy * share
        self._spread = {task: random.uniform(0.3, 1.2) for task in TaskType}
        self._tasks = random.choices(tuple(TaskType), k=random.choice((1, 2, 3)))
        self._tallies: dict[tuple[str, str], Tally] = {}

    def run(self, batches: int) -> Iterator[Outcome]:
        for seen in range(batches):
            expectations = Expectations(self._tallies)
            lines = self._lines(self._random.choice(_SIZES))
            costs = [_planned(line, expectations) for line in lines]
            expected = batch_cost(costs, len(costs))
            known = [self._ask(lines, seen)[0] for _ in range(self._redraws)]
            paid, answers = self._ask(lines, seen)
            self._learn(answers)
            yield Outcome(
                seen, len(lines), expected, paid, median(known) if known else expected.p50
            )

    def _lines(self, count: int) -> list[_Line]:
        random = self._random
        template = random.randrange(_TEMPLATES) if self._world.templates else None
        return [
            _Line(random.choice(self._tasks), template, random.randint(20, 400))
            for _ in range(count)
        ]

    def _ask(
        self, lines: Sequence[_Line], seen: int
    ) -> tuple[float, dict[tuple[str, str], list[_Answer]]]:
        """What the batch costs in nano-dollars when it is run; its answers by what they teach."""
        world, random = self._world, self._random
        common = random.gauss(0.0, world.between)
        apart = {
            key: common if world.together else random.gauss(0.0, world.between)
            for key in self._usual
        }
        paid = 0.0
        answers: dict[tuple[str, str], list[_Answer]] = {}
        for line in lines:
            for model in _LADDER:
                key = model, line.task, line.template
                mean = self._usual[key] * exp(apart[key] + world.drift * seen)
                drawn = world.draw(random, mean, self._spread[line.task])
                taken = min(_LIMIT, max(1, round(drawn)))
                weak = random.random() < self._weak[key]
                rates = _RATES[model]
                paid += rates[0] * line.given + rates[1] * taken
                for name in (line.kind.name, *line.kind.marks):
                    answers.setdefault((model, name), []).append(_Answer(taken, line.given, weak))
                if not weak:
                    break
        return paid * 1000.0, answers

    def _learn(self, answers: dict[tuple[str, str], list[_Answer]]) -> None:
        for key, own in answers.items():
            sums = BatchSums(
                answers=len(own),
                output_tokens=sum(answer.taken for answer in own),
                output_squares=float(sum(answer.taken**2 for answer in own)),
                input_tokens=sum(answer.given for answer in own),
                input_bytes=4 * sum(answer.given for answer in own),
                weak=sum(answer.weak for answer in own),
                longest=max(answer.taken for answer in own),
            )
            before = self._tallies.get(key, Tally())
            self._tallies[key] = before.with_batch(Tally.of(sums), _DAY_S)


def _planned(line: _Line, expectations: Expectations) -> LineCost:
    calls: list[CallCost] = []
    reached, worst = 1.0, 0.0
    for (model, (read, written)), tier in zip(_RATES.items(), Tier, strict=True):
        told = expectations.of(model, tier, line.kind)
        expected, mean, deviation = answer_within(told, _LIMIT)
        calls.append(
            CallCost(
                model=model,
                expected=expected,
                reached=reached,
                given_nusd=1000.0 * read * line.given,
                taken_nusd=1000.0 * written * mean,
                spread_nusd=1000.0 * written * deviation,
                climbed=model != _LADDER[0],
                tokens=line.given + mean,
                latency_s=1.0,
            )
        )
        worst += 1000.0 * (read * line.given + written * _LIMIT)
        reached *= expected.weak
    return LineCost(tuple(calls), round(worst))


def outcomes(
    world: World, projects: int, batches: int, seed: int, redraws: int = 0
) -> list[Outcome]:
    """Batches of made-up projects, planned and run. redraws: of each, to tell what could be known
    of it at best.
    """
    random = Random(seed)
    made = (_Project(world, random, redraws) for _ in range(projects))
    return [outcome for project in made for outcome in project.run(batches)]


@dataclass(frozen=True, slots=True)
class Quality:
    """How good plans were: the share of batches at most at p95; the median of cost over p50; the
    median distance between them; the share of batches that lie within 15 % of p50; and the share
    that lies so near to what could be known of them at best: nobody can do better.
    """

    batches: int
    covered: float
    middle: float
    distance: float
    near: float
    nearest: float

    @classmethod
    def of(cls, found: Sequence[Outcome]) -> "Quality":
        """Of these batches."""
        ratios = [one.actual / one.expected.p50 for one in found]
        return cls(
            len(found),
            sum(one.actual <= one.expected.p95 for one in found) / len(found),
            median(ratios),
            median(abs(ratio - 1.0) for ratio in ratios),
            sum(abs(ratio - 1.0) <= _NEAR for ratio in ratios) / len(found),
            sum(abs(one.actual / one.known - 1.0) <= _NEAR for one in found) / len(found),
        )


def main() -> None:
    """Print one line a world."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predicting")
    parser.add_argument("--projects", type=int, default=20)
    parser.add_argument("--batches", type=int, default=24, help="of each project")
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--redraws", type=int, default=25, help="of each batch")
    wanted = parser.parse_args()
    out = sys.stdout.write
    out("batches  <= p95   cost/p50  distance  within 15 %  at best  world\n")
    everything: list[Outcome] = []
    for world in WORLDS:
        found = outcomes(world, wanted.projects, wanted.batches, wanted.seed, wanted.redraws)
        everything += found
        out(_row(f"{world.name}: first batches", [o for o in found if o.seen < _SEASONED]))
        out(_row(f"{world.name}: later", [o for o in found if o.seen >= _SEASONED]))
    for lines in _SIZES:
        own = [o for o in everything if o.lines == lines and o.seen >= _SEASONED]
        out(_row(f"all worlds, later batches of {lines} lines", own))
    out(_row("everything", everything))


def _row(name: str, found: Sequence[Outcome]) -> str:
    q = Quality.of(found)
    return (
        f"{q.batches:7}  {q.covered:6.1%}  {q.middle:8.3f}  {q.distance:8.1%}  "
        f"{q.near:11.1%}  {q.nearest:7.1%}  {name}\n"
    )


if __name__ == "__main__":
    main()
