"""What the simulated provider remembers: its scenario, its bill, its calls and its prices."""

from simulator.bill import Bill
from simulator.calls import CallLog
from simulator.exchange import Ask
from simulator.faults import FaultPlan
from simulator.limits import Limits
from simulator.prices import PriceTable
from simulator.scenario import Rule, Scenario
from simulator.usage import MILLION


class World:
    """A scenario and what it has to remember: used-up rules, buckets."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.plan = FaultPlan(scenario.seed, scenario.rules)
        self.limits = Limits(scenario.limits)

    def latency_s(self, ask: Ask, rule: Rule | None) -> float:
        """How long a call takes: the same call takes the same time in every run."""
        chosen = self.scenario.latency
        if rule is not None and rule.fault == "slow":
            chosen = rule.latency
        draw = self.plan.draw(ask, -1, ask.seed % MILLION) if chosen.sigma else 0
        return chosen.seconds(draw / MILLION)


class Books:
    """Everything that the control endpoints show and change."""

    def __init__(self, prices: PriceTable, scenario: Scenario) -> None:
        self.prices = prices
        self.world = World(scenario)
        self.bill = Bill()
        self.log = CallLog()

    def use(self, scenario: Scenario) -> None:
        """Go on by another scenario; calls under way keep theirs."""
        self.world = World(scenario)

    def reset(self) -> None:
        """An empty bill, no calls, every rule and bucket as at the start."""
        self.bill = Bill()
        self.log = CallLog()
        self.world = World(self.world.scenario)
