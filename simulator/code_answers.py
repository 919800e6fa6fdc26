"""Code answers: a small valid Python function in a fenced block, or one that does not parse."""

import re
from random import Random
from typing import Final

_ASKS: Final = re.compile(
    r"\b(?:write|implement|create|give|provide|code|define|complete|fix|refactor)\b[^.?!]{0,80}"
    r"\b(?:function|script|program|class|method|code|python|regex|algorithm|decorator)\b",
    re.IGNORECASE,
)

_KNOWN: Final = {
    "fibonacci": """\
def fibonacci(n: int) -> int:
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a""",
    "factorial": """\
def factorial(n: int) -> int:
    product = 1
    for i in range(2, n + 1):
        product *= i
    return product""",
    "prime": """\
def is_prime(n: int) -> bool:
    if n < 2:
        return False
    return all(n % d for d in range(2, int(n**0.5) + 1))""",
    "palindrome": """\
def is_palindrome(text: str) -> bool:
    letters = [c.lower() for c in text if c.isalnum()]
    return letters == letters[::-1]""",
    "reverse": """\
def reverse(text: str) -> str:
    return text[::-1]""",
    "fizz": """\
def fizzbuzz(n: int) -> list[str]:
    return [
        "Fizz" * (i % 3 == 0) + "Buzz" * (i % 5 == 0) or str(i)
        for i in range(1, n + 1)
    ]""",
    "gcd": """\
def gcd(a: int, b: int) -> int:
    while b:
        a, b = b, a % b
    return a""",
    "sort": """\
def sort_items(items: list[int]) -> list[int]:
    if len(items) < 2:
        return items
    pivot, *rest = items
    low = [x for x in rest if x < pivot]
    high = [x for x in rest if x >= pivot]
    return [*sort_items(low), pivot, *sort_items(high)]""",
    "binary search": """\
def find(items: list[int], target: int) -> int:
    low, high = 0, len(items)
    while low < high:
        middle = (low + high) // 2
        if items[middle] < target:
            low = middle + 1
        else:
            high = middle
    return low if low < len(items) and items[low] == target else -1""",
    "sum": """\
def total(numbers: list[int]) -> int:
    return sum(numbers)""",
}
_OTHER: Final = """\
def {name}(items: list[str]) -> dict[str, int]:
    counts: dict[str, int] = {{}}
    for item in items:
        counts[item] = counts.get(item, 0) + 1
    return counts"""


def wants_code(head: str) -> bool:
    """Whether a prompt asks for code."""
    return _ASKS.search(head) is not None


def code_for(head: str, seed: int) -> str:
    """A sentence and a function that parses."""
    lead = Random(seed).choice(("Here is a function for that:", "This does it:", "You can use:"))
    return f"{lead}\n\n```python\n{_function(head)}\n```"


def broken_code(head: str, seed: int) -> str:
    """The same answer with a signature that no parser takes."""
    return code_for(head, seed).replace("):\n", ")\n").replace(") -> ", ") - ", 1)


def _function(head: str) -> str:
    lowered = head.lower()
    for word, code in _KNOWN.items():
        if word in lowered:
            return code
    words = re.findall(r"[a-z]{4,12}", lowered)
    name = "_".join(words[-2:]) if words else "count_items"
    return _OTHER.format(name=name if name.isidentifier() else "count_items")
