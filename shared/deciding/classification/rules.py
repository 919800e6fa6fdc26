"""Classification by rules over visible traits: no model, no call, well under a millisecond.

Every cue gives points to a task type; the type with the most wins, and the lead over the second
makes the confidence. Good where prompts say what they want; where they do not, the confidence is
low on purpose, and routing starts safer.
"""

# The numbers are the rules themselves.
# ruff: noqa: PLR2004

import re
from collections.abc import Iterator
from typing import Final

from shared.deciding.classification.difficulty import difficulty_of
from shared.deciding.classification.features import Features, read_features
from shared.deciding.classification.vocabulary import (
    ANYWHERE,
    ASKING,
    COMMANDS,
    NARRATION,
    QUESTIONS,
)
from shared.domain.decisions import Classification
from shared.domain.inference import Request, TaskType

CODING, CREATIVE, ANALYSIS = TaskType.CODING, TaskType.CREATIVE, TaskType.ANALYSIS
REASONING, QA = TaskType.COMPLEX_REASONING, TaskType.SIMPLE_QA

Cue = tuple[TaskType, float, str]

_MAX_WORD_POINTS: Final = 6.0
_MAX_REASONS: Final = 4
NOTHING_TO_READ: Final = Classification(QA, 0.1, 0.2, ("no words to go by",))

_CODE_REQUEST = re.compile(
    r"\b(?:write|create|implement|build|design|construct|develop|give me|generate|make)\b.{0,60}?"
    r"\b(?:function|program|script|query|code|class|regex|regular expression|algorithm|api"
    r"|html|css|sql|command|method|webpage|website|application|component)\b",
    re.IGNORECASE | re.DOTALL,
)
_GENRE_REQUEST = re.compile(
    r"\b(?:write|compose|create|craft|draft|generate|come up with|tell|give me|describe)\b.{0,50}?"
    r"\b(?:story|poem|haiku|song|lyrics|essay|article|blog|slogan|tagline|title|headline|speech"
    r"|tweet|post|letter|email|dialogue|script|scene|joke|limerick|sonnet|advertisement|ad"
    r"|description|biography|caption|review|rap|paragraph|sentence|monologue|names?|metaphor)s?\b",
    re.IGNORECASE | re.DOTALL,
)
_QUANTITY = re.compile(
    r"\bhow (?:many|much|far|long|old|fast|tall)\b|\bwhat(?: is|'s| are) the (?:value|sum|product"
    r"|probability|area|volume|number|total|remainder|average|length|ratio|perimeter|cost|greatest"
    r"|least|smallest|largest)\b|\bfind (?:the|all|a)\b|\bsolve\b|\bwhat percent",
    re.IGNORECASE,
)
_LOGIC = re.compile(
    r"which (?:one )?of the following|if the (?:above )?statements|must (?:also )?be true"
    r"|can be (?:inferred|concluded)|most (?:seriously |effectively )?(?:weakens?|strengthens?)"
    r"|step[- ]by[- ]step"
    r"|\b(?:prove|show|verify) that\b|true or false\?",
    re.IGNORECASE,
)
_GIVEN_TEXT = re.compile(
    r"\b(?:the|this|these|following|above|below|given) (?:\w+ )?(?:text|passage|paragraph|article"
    r"|document|review|reviews|dialog|dialogue|conversation|context|excerpt|report|summary|data"
    r"|statement|sentences?|reference|email|transcript)\b",
    re.IGNORECASE,
)
_SORTING = re.compile(
    r"\b(?:classify|categori[sz]e|identify (?:which|the|if|whether)|tell me (?:which|whether|if)"
    r"|label|which of (?:these|the following) are|is this (?:review|product|text)"
    r"|positive or negative|negative or positive|(?:scale|rating|stars?|score)\b.{0,30}\b(?:1|one)"
    r"|extract|in a nutshell|sum up|tl;?dr|main (?:idea|points?)|key points|do the"
    r"|mean the same|paraphrase)\b",
    re.IGNORECASE,
)
_LANGUAGE = re.compile(
    r"(?<!\w)(?:c\+\+|c#|\.net|vba|node\.js|(?:bash|shell|batch|python) scripts?"
    r"|in (?:c|r|go|rust|ruby|swift|scala|perl|matlab|haskell|excel)|code snippet|unit tests?"
    r"|data structure|leetcode|time complexity|for loop|git|awk"
    r"|pytest|npm|one-liner|select \* from)(?!\w)",
    re.IGNORECASE,
)
_ROLE = re.compile(
    r"\b(?:act as|pretend (?:to be|that|you)|role-?play|play the role|in the (?:voice|style) of"
    r"|you are (?:going to|now)|imagine (?:you|that|a)|simulate a conversation|text[- ]based)\b",
    re.IGNORECASE,
)


class RulesClassifier:
    """The rules behind the `Classifier` protocol; has no state and needs no file."""

    def classify(self, request: Request) -> Classification:
        """Classify by the last user message."""
        return classify_text(request.last_user_text)


def classify_text(prompt: str) -> Classification:
    """Classify a prompt's text alone."""
    features = read_features(prompt)
    return NOTHING_TO_READ if is_blank(features) else decide(features, cues_of(features))


def is_blank(features: Features) -> bool:
    """Whether there is nothing to go by."""
    return not features.words and not features.formulas


def cues_of(features: Features) -> list[Cue]:
    """All cues of a prompt, the strongest first."""
    return sorted(_cues(features), key=lambda cue: -cue[1])


def decide(features: Features, cues: list[Cue]) -> Classification:
    """What the cues add up to."""
    points = dict.fromkeys(TaskType, 0.0)
    for kind, worth, _ in cues:
        points[kind] += worth
    # Of equals the simpler: a question about nothing recognisable is most often a short one.
    ranked = sorted(points.items(), key=lambda entry: entry[1])[::-1]
    (best, most), (_, second) = ranked[0], ranked[1]
    return Classification(
        task_type=best,
        difficulty=difficulty_of(features, best),
        confidence=_confidence(most, second),
        reasons=reasons_for(best, cues),
    )


def reasons_for(kind: TaskType, cues: list[Cue]) -> tuple[str, ...]:
    """The strongest cues that speak for a task type, in words."""
    return tuple(text for spoken_for, _, text in cues if spoken_for is kind)[:_MAX_REASONS]


def _confidence(most: float, second: float) -> float:
    """The lead as a share, damped where there is little evidence at all."""
    if most <= 0:
        return 0.2
    lead = (most - second) / most
    evidence = min(1.0, most / 5.0)
    return round(min(0.98, 0.3 + 0.68 * lead * evidence), 4)


def _cues(features: Features) -> Iterator[Cue]:
    yield from _word_cues(features)
    yield from _code_cues(features)
    yield from _reasoning_cues(features)
    yield from _reading_cues(features)
    yield from _writing_cues(features)
    yield from _question_cues(features)


def _word_cues(features: Features) -> Iterator[Cue]:
    found: dict[TaskType, list[tuple[float, str]]] = {}
    for word in features.distinct & ANYWHERE.keys():
        kind, worth = ANYWHERE[word]
        found.setdefault(kind, []).append((worth, word))
    # A long prompt meets many words by chance: each one says less.
    damping = min(1.0, 60 / max(1, features.word_count)) ** 0.5
    for kind, words in found.items():
        words.sort(key=lambda entry: (-entry[0], entry[1]))
        worth = min(_MAX_WORD_POINTS, sum(points for points, _ in words) * damping)
        yield kind, worth, "words: " + ", ".join(word for _, word in words[:3])
    for word in features.commands & COMMANDS.keys():
        kind, worth = COMMANDS[word]
        yield kind, worth * damping, f"an instruction opens with {word!r}"


def _code_cues(features: Features) -> Iterator[Cue]:
    if features.fenced:
        yield CODING, 3.0, "fenced code"
    if features.code_lines >= 2:
        yield CODING, min(4.0, 0.8 * features.code_lines), "lines of code"
    if _CODE_REQUEST.search(features.text[:400]):
        yield CODING, 3.0, "asks for code"
    if _LANGUAGE.search(features.text[:600]):
        yield CODING, 3.0, "names a language or tool of programming"


def _reasoning_cues(features: Features) -> Iterator[Cue]:
    if features.formulas and not features.fenced and features.code_lines < 3:
        dense = features.formulas / max(10, features.word_count)
        yield REASONING, min(5.0, 1.0 + features.formulas + 10 * dense), "formulas"
    asks = _QUANTITY.search(features.text[-400:]) is not None
    if asks and features.numbers >= 2:
        yield REASONING, min(6.0, 3.5 + 0.5 * features.numbers), "figures and a quantity asked for"
    elif asks and features.numbers:
        yield REASONING, 1.5, "a quantity asked for"
    if features.has_choices:
        yield REASONING, 3.0, "answers to choose from"
    if _LOGIC.search(features.ends):
        yield REASONING, 2.5, "a logical question"


def _reading_cues(features: Features) -> Iterator[Cue]:
    text, words = features.text, features.word_count
    if _GIVEN_TEXT.search(features.ends):
        yield ANALYSIS, 2.5, "refers to a given text"
    if _SORTING.search(text[:300]) or _SORTING.search(text[-300:]):
        yield ANALYSIS, 3.0, "asks to sort, extract or sum up"
    if features.fenced or features.code_lines >= 3:
        return
    if words > 120:
        yield ANALYSIS, min(4.0, words / 80), "a long text to read"
    if features.speakers >= 3 and not features.has_choices:
        yield ANALYSIS, 3.0, "a conversation to read"
    if words > 40 and features.opening in QUESTIONS and features.numbers < words / 12:
        yield ANALYSIS, 2.5, "a question with a text to answer it from"


def _writing_cues(features: Features) -> Iterator[Cue]:
    if _GENRE_REQUEST.search(features.text[:300]):
        yield CREATIVE, 3.5, "asks for a piece of writing"
    if _ROLE.search(features.text[:400]):
        yield CREATIVE, 3.5, "asks to play a part"
    words = features.word_count
    told = not features.ends_with_question and not (features.commands & COMMANDS.keys())
    plain = not features.formulas and not features.code_lines and features.speakers < 2
    if told and plain and 8 <= words <= 120 and features.opening not in QUESTIONS:
        worth = 3.0 if features.opening in NARRATION else 2.0
        yield CREATIVE, worth, "a situation, no question"


def _question_cues(features: Features) -> Iterator[Cue]:
    words = features.word_count
    if words > 40 or features.fenced or features.code_lines:
        return
    if features.opening in QUESTIONS and features.numbers <= 2:
        yield QA, 5.0 if words <= 20 else 3.0, "a short question"
    elif features.distinct & ASKING and words <= 16 and not features.commands & COMMANDS.keys():
        yield QA, 2.0, "a question within"
    if features.ends_with_question and features.questions == 1 and features.numbers <= 2:
        yield QA, 1.5, "one question"
    if words <= 12:
        yield QA, 1.0, "very short"
