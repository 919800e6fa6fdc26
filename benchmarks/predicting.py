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
from dataclasses import dataclass
from math import exp, log, sqrt
from random import Random
from statistics import median
from typing import Final

from producer.planning.batch_cost import BatchCost, batch_cost
from producer.planning.line_costs import CallCost, LineCost, cut_lognormal
from shared.deciding.estimation import EXPECTED_OUTPUT_TOKENS
from shared.deciding.expectations import BatchSums, Expectations, Tally
from shared.domain.inference import TaskType

_RATES: Final = {"small": (0.2, 1.2), "middle": (2.0, 12.0), "large": (4.0, 20.0)}  # nUSD*1e-3
_LADDER: Final = tuple(_RATES)
_LIMIT: Final = 1024
_SIZES: Final = (20, 100, 400)  # lines of a batch
_DAY_S: Final = 86_400.0
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


WORLDS: Final = (
    World("as assumed: lognormal answers", _lognormal, 0.15, together=True),
    World("groups deviate apart", _lognormal, 0.15, together=False),
    World("gamma answers", _gamma, 0.10, together=True),
    World("two-humped answers", _two_humps, 0.10, together=False),
    World("batches of one template", _lognormal, 0.05, together=True),
    World("batches very unlike", _lognormal, 0.35, together=True),
    World("answers grow 2 % a batch", _lognormal, 0.10, together=True, drift=0.02),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One batch: how many its project had before it, what was expected, and what it cost."""

    seen: int
    lines: int
    expected: BatchCost
    actual: float


class _Project:
    """Batches of one made-up project, one after the other."""

    def __init__(self, world: World, random: Random) -> None:
        self._world = world
        self._random = random
        self._usual = {
            (model, task): EXPECTED_OUTPUT_TOKENS[task] * exp(random.gauss(0.0, 0.6))
            for model in _LADDER
            for task in TaskType
        }
        self._spread = {task: random.uniform(0.3, 1.2) for task in TaskType}
        self._weak = {(m, t): random.betavariate(1.0, 8.0) for m in _LADDER for t in TaskType}
        self._tasks = random.choices(tuple(TaskType), k=random.choice((1, 2, 3)))
        self._tallies: dict[tuple[str, TaskType], Tally] = {}

    def run(self, batches: int) -> Iterator[Outcome]:
        for seen in range(batches):
            expectations = Expectations(self._tallies)
            lines = [self._line() for _ in range(self._random.choice(_SIZES))]
            costs = [_planned(task, given, expectations) for task, given in lines]
            expected = batch_cost(costs, len(costs), expectations)
            yield Outcome(seen, len(lines), expected, self._ask(lines, seen))

    def _line(self) -> tuple[TaskType, int]:
        return self._random.choice(self._tasks), self._random.randint(20, 400)

    def _ask(self, lines: Sequence[tuple[TaskType, int]], seen: int) -> float:
        world, random = self._world, self._random
        common = random.gauss(0.0, world.between)
        apart = {
            key: common if world.together else random.gauss(0.0, world.between)
            for key in self._usual
        }
        paid = 0.0
        answers: dict[tuple[str, TaskType], list[tuple[int, int, bool]]] = {}
        for task, given in lines:
            for model in _LADDER:
                key = model, task
                mean = self._usual[key] * exp(apart[key] + world.drift * seen)
                drawn = world.draw(random, mean, self._spread[task])
                taken = min(_LIMIT, max(1, round(drawn)))
                weak = random.random() < self._weak[key]
                rates = _RATES[model]
                paid += rates[0] * given + rates[1] * taken
                answers.setdefault(key, []).append((given, taken, weak))
                if not weak:
                    break
        self._learn(answers)
        return paid * 1000.0

    def _learn(self, answers: dict[tuple[str, TaskType], list[tuple[int, int, bool]]]) -> None:
        for key, own in answers.items():
            sums = BatchSums(
                answers=len(own),
                output_tokens=sum(taken for _, taken, _ in own),
                output_squares=float(sum(taken**2 for _, taken, _ in own)),
                input_tokens=sum(given for given, _, _ in own),
                input_bytes=4 * sum(given for given, _, _ in own),
                weak=sum(weak for _, _, weak in own),
            )
            before = self._tallies.get(key, Tally())
            self._tallies[key] = before.with_batch(Tally.of(sums), _DAY_S)


def _planned(task: TaskType, given: int, expectations: Expectations) -> LineCost:
    calls: list[CallCost] = []
    reached, worst = 1.0, 0.0
    for model, (read, written) in _RATES.items():
        expected = expectations.of(model, task)
        mean, deviation = cut_lognormal(expected.output_tokens, expected.spread, _LIMIT)
        calls.append(
            CallCost(
                group=(model, task),
                reached=reached,
                given_nusd=1000.0 * read * given,
                taken_nusd=1000.0 * written * mean,
                spread_nusd=1000.0 * written * deviation,
                climbed=model != _LADDER[0],
                tokens=given + mean,
                latency_s=1.0,
            )
        )
        worst += 1000.0 * (read * given + written * _LIMIT)
        reached *= expected.weak
    return LineCost(tuple(calls), round(worst))


def outcomes(world: World, projects: int, batches: int, seed: int) -> list[Outcome]:
    """Batches of made-up projects, planned and run."""
    random = Random(seed)
    return [o for _ in range(projects) for o in _Project(world, random).run(batches)]


@dataclass(frozen=True, slots=True)
class Quality:
    """How good plans were: the share of batches at most at p95; the median of cost over p50; the
    median distance between them; and the share of batches that lie within 15 % of p50.
    """

    batches: int
    covered: float
    middle: float
    distance: float
    near: float

    @classmethod
    def of(cls, found: Sequence[Outcome]) -> "Quality":
        """Of these batches."""
        ratios = [one.actual / one.expected.p50 for one in found]
        return cls(
            len(found),
            sum(one.actual <= one.expected.p95 for one in found) / len(found),
            median(ratios),
            median(abs(ratio - 1.0) for ratio in ratios),
            sum(abs(ratio - 1.0) <= 0.15 for ratio in ratios) / len(found),
        )


def main() -> None:
    """Print one line a world."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.predicting")
    parser.add_argument("--projects", type=int, default=20)
    parser.add_argument("--batches", type=int, default=24, help="of each project")
    parser.add_argument("--seed", type=int, default=6)
    wanted = parser.parse_args()
    out = sys.stdout.write
    out("batches  <= p95   cost/p50  distance  within 15 %  world\n")
    everything: list[Outcome] = []
    for world in WORLDS:
        found = outcomes(world, wanted.projects, wanted.batches, wanted.seed)
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
        f"{q.near:11.1%}  {name}\n"
    )


if __name__ == "__main__":
    main()
