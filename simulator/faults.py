"""When the faults of a scenario strike, and the problem each tells of."""

import time
from collections.abc import Sequence
from email.utils import formatdate
from hashlib import blake2b
from math import ceil
from typing import Final

from simulator.exchange import Ask, Problem
from simulator.fault_kinds import PROBLEM_STATUS
from simulator.scenario import Rule
from simulator.usage import MILLION

_USUAL_WAIT_S: Final = 1.0
_WAITING: Final = ("429", "503", "529")
# What vendors answer where the account has no money left, by wire.
_CREDIT_STATUS: Final = {"openai": 429, "anthropic": 400, "gemini": 400, "cohere": 402}


class FaultPlan:
    """Decides which rule befalls a call. Counts what `times` and shares depend on."""

    def __init__(self, seed: int, rules: Sequence[Rule]) -> None:
        self._seed = seed
        self._rules = rules
        self._left = [rule.times for rule in rules]
        self._seen: dict[bytes, int] = {}
        self._counts_prompts = any(rule.share < MILLION for rule in rules)

    def rule_for(self, ask: Ask) -> Rule | None:
        """The first rule that matches, is not used up and whose share includes this call."""
        if not self._rules:
            return None
        nth = self._nth(ask.prompt_digest) if self._counts_prompts else 0
        for index, rule in enumerate(self._rules):
            left = self._left[index]
            if left == 0 or not rule.match.accepts(ask):
                continue
            if rule.share < MILLION and self.draw(ask, index, nth) >= rule.share:
                continue
            if left is not None:
                self._left[index] = left - 1
            return rule
        return None

    def draw(self, ask: Ask, index: int, nth: int) -> int:
        """A number below a million, the same for the same seed, rule, prompt and nth call of it."""
        text = b"%d:%d:%d:" % (self._seed, index, nth)
        digest = blake2b(text + ask.prompt_digest, digest_size=8).digest()
        return int.from_bytes(digest, "big") % MILLION

    def _nth(self, digest: bytes) -> int:
        nth = self._seen.get(digest, 0)
        self._seen[digest] = nth + 1
        return nth


def problem_of(rule: Rule, wire: str) -> Problem | None:
    """The HTTP error a rule orders on this wire, None where it orders none."""
    found = PROBLEM_STATUS.get(rule.fault)
    if found is None:
        return None
    status, kind = found
    if kind == "credit_too_low":
        status = _CREDIT_STATUS[wire]
    if rule.fault not in _WAITING or (rule.retry_after_s is None and rule.fault != "429"):
        return Problem(status, kind)
    wait = _USUAL_WAIT_S if rule.retry_after_s is None else rule.retry_after_s
    return with_wait(Problem(status, kind), wait, rule.dialect, wire)


def with_wait(problem: Problem, wait_s: float, dialect: str | None, wire: str) -> Problem:
    """The same problem, telling the client how long to wait.

    Without a dialect each wire uses its vendor's: RetryInfo on Gemini, seconds elsewhere. RetryInfo
    has no place on the other wires; there the message's text tells it.
    """
    dialect = dialect or ("retry_info" if wire == "gemini" else "seconds")
    headers: tuple[tuple[str, str], ...] = ()
    if dialect == "seconds":
        headers = (("retry-after", _plain(wait_s)),)
    elif dialect == "ms":
        headers = (("retry-after-ms", str(ceil(wait_s * 1000))),)
    elif dialect == "http-date":
        headers = (("retry-after", formatdate(ceil(time.time() + wait_s), usegmt=True)),)
    in_body = dialect == "retry_info" and wire == "gemini"
    return Problem(
        status=problem.status,
        kind=problem.kind,
        message=problem.message,
        param=problem.param,
        headers=headers,
        retry_hint="" if dialect == "none" else told(wait_s),
        retry_info_s=wait_s if in_body else None,
    )


def told(wait_s: float) -> str:
    """A wait as vendors write it in messages: "3.8s", "850ms", "2m5s"."""
    if wait_s < 1:
        return f"{ceil(wait_s * 1000)}ms"
    minutes, seconds = divmod(wait_s, 60)
    text = f"{_plain(seconds)}s"
    return f"{int(minutes)}m{text}" if minutes else text


def _plain(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")
