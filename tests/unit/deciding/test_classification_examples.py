"""Prompts written for this test: how often they are classified rightly.

They were read when the rules were made, so the floors below guard against getting worse; they are
no measure on unseen prompts.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.deciding.classification.classifier import Classifier
from shared.deciding.classification.features import HEAD_CHARS, TAIL_CHARS, read_features
from shared.deciding.classification.trained import TrainedClassifier
from shared.domain.decisions import Level
from shared.domain.inference import Request, TaskType

CLASSIFIER = TrainedClassifier()
classify_text = CLASSIFIER.classify_text

CODING = [
    "Write a Python function that merges two sorted lists without using sorted().",
    "Why does this raise a KeyError?\n```python\nd = {}\nprint(d['a'])\n```",
    "Refactor this class so that the database connection is injected.",
    "Give me a SQL query that finds customers without an order in the last 90 days.",
    "Convert this bash script to PowerShell:\nfor f in *.log; do gzip $f; done",
    "Implement an LRU cache in Go with O(1) operations and explain the data structures.",
    "My React component re-renders on every keystroke. How do I memoize it?",
    "Write a regex that matches ISO 8601 dates but not week dates.",
    "Create a Dockerfile for a FastAPI app that runs as a non-root user.",
    "Add unit tests for the function below.\n\ndef area(r):\n    return 3.14 * r * r\n",
    "What is wrong with this loop?\nfor (int i = 0; i <= n; i++) { sum += a[i]; }",
    "Schreibe eine Funktion in Python, die prüft, ob eine Zahl eine Primzahl ist.",
]
CREATIVE = [
    "Write a short story about a lighthouse keeper who is afraid of the dark.",
    "Compose a haiku about the first snow on a motorway.",
    "Come up with ten names for a bakery that only sells things with poppy seeds.",
    "Draft a playful product description for a backpack made of old sails.",
    "You are a pirate captain who has just learned that the earth is round.",
    "Write the opening scene of a play in which two chess pieces fall in love.",
    "Write a tweet announcing that our library now stays open until midnight.",
    "A toast for my sister's wedding, warm and a little funny, please write one.",
    "Write lyrics for a sea shanty about debugging.",
    "Every night at three the vending machine in the lobby sells something that does not exist.",
    "Act as a grumpy museum guide and show me around a museum of umbrellas.",
    "Write a blog post about why slow mornings are worth it.",
]
ANALYSIS = [
    (
        "Summarize the following text in two sentences:\n\nThe council met on Monday to "
        "discuss the new tram line. Residents complained about noise; shop owners hoped for "
        "more customers."
    ),
    "Compare renting and buying a flat for someone who moves every three years.",
    (
        "Is this review positive or negative? 'The room was clean, but nobody slept: the bar "
        "below played until four.'"
    ),
    (
        "Extract all names of companies from this paragraph: Last year Norvik bought Teller "
        "& Sons, and Ames Ltd. sold its share in Norvik."
    ),
    "Classify each of these e-mails as complaint, question or praise.",
    "Analyze the strengths and weaknesses of the argument in the text below.",
    (
        "What are the key points of this article? The harbour was dredged in spring, and "
        "since then larger ships have called. The town's income rose, the fishermen's fell."
    ),
    (
        "Read the dialogue and say who will pay.\nAnna: I forgot my purse.\nBen: Again?\nAnna: "
        "Sorry.\nBen: Fine, but you get the next one."
    ),
    "Identify which of these animals are mammals: whale, shark, bat, penguin.",
    "Evaluate the pros and cons of a four-day week from the employer's point of view.",
    "Based on the passage above, why did the miller refuse the offer?",
    "tl;dr of the report below, for a manager with one minute.",
]
REASONING = [
    "A train leaves at 9:40 and covers 210 km at 84 km/h. When does it arrive?",
    "Prove that the square root of 3 is irrational.",
    "Solve for x: 3x^2 - 12x + 9 = 0.",
    "If all bloops are razzies and some razzies are lazzies, must some bloops be lazzies?",
    "How many ways are there to seat 6 people at a round table if two refuse to sit together?",
    "Sara has 3 times as many stamps as Tom. Together they have 64. How many has Tom?",
    "Find the probability that two dice show a sum of at least 9.",
    (
        "Three boxes are labelled apples, oranges, mixed, and every label is wrong. You may "
        "draw one fruit from one box. Deduce all three contents step by step."
    ),
    "What is the remainder when 7^100 is divided by 13?",
    "Compute the integral $\\int_0^1 x e^x dx$.",
    (
        "A shop raises a price by 20 % and then lowers it by 20 %. How much percent of the "
        "original price is left?"
    ),
    (
        "Which of the following must be true?\nA) All knights lie\nB) Some knights lie\nC) No "
        "knight lies\nGiven that each knight either always lies or never does."
    ),
]
SIMPLE_QA = [
    "What is the capital of Mongolia?",
    "Who wrote The Master and Margarita?",
    "When did the Berlin Wall fall?",
    "How tall is Kilimanjaro?",
    "Is a tomato a fruit?",
    "What does HTTP stand for?",
    "In which country is the city of Cusco?",
    "Name the largest moon of Saturn.",
    "Why is the sky blue?",
    "What's the currency of Denmark",
    "Which planet has the most moons?",
    "Define photosynthesis.",
    "Wer war der erste Bundeskanzler?",
]
EXAMPLES = [
    *((text, TaskType.CODING) for text in CODING),
    *((text, TaskType.CREATIVE) for text in CREATIVE),
    *((text, TaskType.ANALYSIS) for text in ANALYSIS),
    *((text, TaskType.COMPLEX_REASONING) for text in REASONING),
    *((text, TaskType.SIMPLE_QA) for text in SIMPLE_QA),
]


def test_the_type_is_named_of_nine_in_ten_examples() -> None:
    wrong = [
        (kind.value, classify_text(text).task_type.value, text[:60])
        for text, kind in EXAMPLES
        if classify_text(text).task_type is not kind
    ]
    assert len(wrong) <= len(EXAMPLES) // 10, wrong


@pytest.mark.parametrize("kind", list(TaskType))
def test_no_type_is_missed_more_than_one_time_in_five(kind: TaskType) -> None:
    texts = [text for text, right in EXAMPLES if right is kind]
    right = sum(classify_text(text).task_type is kind for text in texts)
    assert right >= 0.8 * len(texts)


def test_confidence_is_higher_where_the_type_is_right() -> None:
    right = [c.confidence for t, k in EXAMPLES if (c := classify_text(t)).task_type is k]
    wrong = [c.confidence for t, k in EXAMPLES if (c := classify_text(t)).task_type is not k]
    assert not wrong or sum(wrong) / len(wrong) < sum(right) / len(right)


DESIGN_TASK = (
    "Design a distributed rate limiter in Go. It must be fault-tolerant, never allow more than the "
    "limit, and handle clock skew. First explain the algorithm and its complexity, then implement "
    "it with tests, finally discuss the trade-offs of consistent hashing."
)
BOUND_STORY = (
    "Write a 3000-word story with two narrators that must never meet, exactly five scenes, without "
    "adjectives; then analyze its structure in detail."
)


@pytest.mark.parametrize(
    ("easier", "harder"),
    [
        ("What is the capital of Peru?", REASONING[1]),
        ("Write a function that adds two numbers.", DESIGN_TASK),
        ("Write a haiku.", BOUND_STORY),
    ],
)
def test_a_demanding_prompt_is_harder_than_a_plain_one(easier: str, harder: str) -> None:
    assert classify_text(easier).difficulty + 0.1 < classify_text(harder).difficulty


def test_a_short_question_is_easy_and_every_decision_has_its_reasons() -> None:
    decided = classify_text("What is the capital of Mongolia?")
    assert decided.level is Level.EASY
    assert decided.reasons
    assert decided.source == "trained"


@given(st.text(max_size=400))
def test_any_text_is_classified_within_bounds(text: str) -> None:
    decided = classify_text(text)
    assert 0 <= decided.difficulty <= 1
    assert 0 <= decided.confidence <= 1
    assert decided == classify_text(text)


@pytest.mark.parametrize("text", ["", " ", "\n" * 10, "?", "…", "1", "```", "你好", "$" * 50])
def test_a_prompt_without_words_gets_a_low_confidence(text: str) -> None:
    assert classify_text(text).confidence <= 0.6


def test_only_the_ends_of_a_very_long_prompt_are_read() -> None:
    features = read_features("word " * 1_000_000)
    assert len(features.text) <= HEAD_CHARS + TAIL_CHARS + 1
    assert features.length == 5_000_000


def test_an_instruction_after_a_long_text_is_seen() -> None:
    text = "The mill stood by the river for years. " * 500 + "\n\nSummarize the text above."
    assert classify_text(text).task_type is TaskType.ANALYSIS


def test_the_last_user_message_is_what_is_classified() -> None:
    classifier: Classifier = CLASSIFIER
    request = Request(
        messages=(
            {"role": "user", "content": "Write a poem about rain."},
            {"role": "assistant", "content": "Rain falls."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "Prove that 2^n > n for all n."}],
            },
        )
    )
    assert classifier.classify(request).task_type is TaskType.COMPLEX_REASONING
