"""What the simulated models say: sensible, deterministic, and weak on request.

The same prompt and model give the same answer. Recognised: sums, capitals, choices, code, JSON,
stories and poems, summaries, lists; everything else gets a plausible paragraph that says that it is
simulated.
"""

import re
from collections.abc import Callable
from random import Random
from typing import Final

from simulator.arithmetic import work_out
from simulator.code_answers import broken_code, code_for, wants_code
from simulator.exchange import Ask
from simulator.json_answers import fitting_object
from simulator.judgements import judgement

_HEAD_CHARS: Final = 4000
_CAPITALS: Final = {
    "argentina": "Buenos Aires", "australia": "Canberra", "austria": "Vienna",
    "belgium": "Brussels", "brazil": "Brasília", "canada": "Ottawa", "chile": "Santiago",
    "china": "Beijing", "czechia": "Prague", "denmark": "Copenhagen", "egypt": "Cairo",
    "finland": "Helsinki", "france": "Paris", "germany": "Berlin", "greece": "Athens",
    "hungary": "Budapest", "iceland": "Reykjavik", "india": "New Delhi", "ireland": "Dublin",
    "italy": "Rome", "japan": "Tokyo", "kenya": "Nairobi", "mexico": "Mexico City",
    "mongolia": "Ulaanbaatar", "morocco": "Rabat", "netherlands": "Amsterdam",
    "new zealand": "Wellington", "nigeria": "Abuja", "norway": "Oslo", "peru": "Lima",
    "poland": "Warsaw", "portugal": "Lisbon", "south korea": "Seoul", "spain": "Madrid",
    "sweden": "Stockholm", "switzerland": "Bern", "thailand": "Bangkok", "turkey": "Ankara",
    "ukraine": "Kyiv", "united kingdom": "London", "united states": "Washington, D.C.",
    "vietnam": "Hanoi",
}  # fmt: skip
_CAPITAL: Final = re.compile(r"capital(?: city)? of (?:the )?([a-z ]+)", re.IGNORECASE)
_CHOICES: Final = re.compile(r"^\s*\(?([A-J])[).:]\s+\S", re.MULTILINE)
_BRIEF: Final = re.compile(r"\b(?:only|just) (?:with )?(?:the|a|one|an)\b", re.IGNORECASE)
_HARD: Final = re.compile(
    r"\b(?:prove|proof|derive|analy[sz]e|trade-?offs?|step by step|design|architect|optimi[sz]e|"
    r"compare|evaluate|complexity|concurren\w+|distributed|root cause|strategy|why does|"
    r"thread-safe)\b",
    re.IGNORECASE,
)
_HARD_CHARS: Final = 600

REFUSAL: Final = "I'm sorry, but I can't help with that request."
_HEDGES: Final = (
    "I'm not sure about this. It might depend on details that I don't have.",
    "I'm not sure, but I think it could go either way. You may want to verify this elsewhere.",
    "I don't know exactly. Perhaps it is possible, but I cannot say with confidence.",
)


def looks_hard(prompt: str) -> bool:
    """Whether a prompt asks for more than a fact: long, or in words of analysis and design."""
    return len(prompt) > _HARD_CHARS or _HARD.search(prompt) is not None


def answer(ask: Ask, seed: int) -> str:
    """The good answer to a request, drawn from `seed`."""
    if ask.json_mode or ask.schema is not None:
        return fitting_object(ask.schema, ask.prompt, seed)
    if (judged := judgement(ask.prompt, looks_hard)) is not None:
        return judged
    head = ask.prompt[:_HEAD_CHARS]
    if wants_code(head):
        return code_for(head, seed)
    if re.search(r"\bJSON\b", head):
        return fitting_object(None, head, seed)
    return _short_answer(head, seed) or _prose(head, seed)


def faulty_answer(fault: str, ask: Ask, seed: int) -> str:
    """The weak answer of an answer fault's kind."""
    match fault:
        case "weak":
            return Random(seed).choice(_HEDGES)
        case "refused" | "blocked":
            return REFUSAL
        case "empty":
            return ""
        case "invalid_json":
            return fitting_object(ask.schema, ask.prompt, seed).rstrip("}]") + ', "note": '
        case "bad_code":
            return broken_code(ask.prompt[:_HEAD_CHARS], seed)
        case _:
            good = answer(ask, seed)
            return good[: max(1, len(good) // 2)]


def _short_answer(head: str, seed: int) -> str | None:
    """A fact, a number or a letter; None where the prompt asks for prose."""
    brief = _BRIEF.search(head) is not None
    if (found := _CAPITAL.search(head)) and (named := _capital(found[1])):
        country, city = named
        return city if brief else f"The capital of {country} is {city}."
    choices = _CHOICES.findall(head)
    if len(choices) > 1:
        letter = Random(seed).choice(sorted(set(choices)))
        return letter if brief else f"The answer is {letter}."
    value = work_out(head)
    if value is None:
        return None
    return value if brief else f"The answer is {value}."


def _capital(asked: str) -> tuple[str, str] | None:
    words = asked.lower().split()
    for length in (2, 1):
        country = " ".join(words[:length])
        if country in _CAPITALS:
            return country.title(), _CAPITALS[country]
    return None


def _prose(head: str, seed: int) -> str:
    lowered = head.lower()
    random = Random(seed)
    for words, write in _KINDS:
        if any(word in lowered for word in words):
            return write(_subject(head), random)
    return _paragraph(_subject(head), random)


def _subject(head: str) -> str:
    """What a prompt is about: its last telling words."""
    words = [word for word in re.findall(r"[A-Za-z][A-Za-z'-]+", head[:300]) if len(word) > 3]
    return " ".join(words[-4:]).lower() or "this question"


def _story(subject: str, random: Random) -> str:
    name = random.choice(("Mira", "Tomas", "Ines", "Jonah", "Ada"))
    place = random.choice(("a harbour town", "the last station", "a hill village"))
    return (
        f"{name} had lived in {place} for as long as the clocks had been wrong. Nobody there spoke "
        f"of {subject} any more, until one grey morning it stood at the door. {name} made tea, "
        "listened to the whole tale, and laughed. By evening the clocks were right again, and "
        "nobody could say when that had happened."
    )


def _poem(subject: str, random: Random) -> str:
    season = random.choice(("autumn", "winter", "spring", "summer"))
    return (
        f"In {season} light the hours bend,\nand {subject} hums from end to end;\n"
        "the window keeps what rain has said,\nand morning turns the page instead."
    )


def _summary(subject: str, random: Random) -> str:
    stress = random.choice(("the cost", "the timing", "the people involved"))
    return (
        f"In short: the text is about {subject}. It makes one main point, supports it with a few "
        f"examples, and leaves {stress} as the open question."
    )


def _list(subject: str, random: Random) -> str:
    points = [
        f"Begin with what is known about {subject}.",
        "Write down the constraints before the ideas.",
        "Try the cheapest option first and measure it.",
        "Ask someone who will have to live with the result.",
        "Decide, and note what would change your mind.",
    ]
    random.shuffle(points)
    return "\n".join(f"{number}. {point}" for number, point in enumerate(points, start=1))


def _paragraph(subject: str, random: Random) -> str:
    first = random.choice(("context", "definition", "history", "purpose"))
    second = random.choice(("evidence", "cost", "practice", "consequences"))
    return (
        f"This is a simulated answer about {subject}. Two things matter most here: the {first} and "
        f"the {second}. The {first} explains how the matter came to stand as it does; the {second} "
        "shows what follows from it. Taken together they support a clear conclusion: begin with "
        "the simplest reading, test it against one concrete case, and refine it where it fails."
    )


_KINDS: Final[tuple[tuple[tuple[str, ...], Callable[[str, Random], str]], ...]] = (
    (("poem", "haiku", "verse", "limerick", "lyrics"), _poem),
    (("story", "tale", "fable", "narrative", "scene"), _story),
    (("summar", "tl;dr", "condense", "in one sentence"), _summary),
    (("list ", "steps", "ideas", "tips", "ways to", "bullet"), _list),
)
