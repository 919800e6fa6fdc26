"""Prompts say what kind of answer they want, and what template they are made from."""

import pytest

from shared.deciding.answer_kinds import AnswerKind, is_mark, kind_of, kind_of_task
from shared.deciding.batch_sums import PaidAnswer, sums_of
from shared.deciding.cost_tallies import FRAME_BYTES
from shared.domain.inference import Request, TaskType


def asked(prompt: str, max_tokens: int | None = None) -> Request:
    return Request(messages=({"role": "user", "content": prompt},), max_tokens=max_tokens)


def kind(prompt: str, max_tokens: int | None = None) -> AnswerKind:
    return kind_of(asked(prompt, max_tokens), TaskType.ANALYSIS)


@pytest.mark.parametrize(
    ("prompt", "name", "tokens"),
    [
        ("Which is it? Answer with only the letter.", "word", 12),
        ("Classify this review. Answer with one word: positive or negative.", "word", 12),
        ("Is water wet? Reply yes or no.", "word", 12),
        ("Summarise this in one sentence.", "sentence", 35),
        ("Describe it in two short sentences.", "sentences", 75),
        ("Write a 500-word essay about tides.", "words:9", 675),
        ("Write about 1,200 words on tides.", "words:11", 1620),
        ("Compare these two plans.", "analysis", 300),
    ],
)
def test_a_wish_for_a_length_is_read(prompt: str, name: str, tokens: float):
    told = kind(prompt)
    assert (told.name, told.tokens) == (name, pytest.approx(tokens))


def test_what_stands_in_the_middle_of_a_long_prompt_is_material_and_no_wish():
    material = "The editor said: write 500 words. " * 3
    assert kind("Compare these texts. " + "x " * 200 + material + "y " * 200).name == "analysis"


def test_a_small_limit_makes_a_kind_of_its_own_and_a_usual_one_none():
    told = kind("Compare them.", 16)
    assert told.name == "limit:5:analysis"
    assert told.limits == kind_of_task(TaskType.ANALYSIS)
    assert kind("Compare them.", 1000).name == "analysis"


def test_prompts_of_one_template_share_a_mark_whatever_is_filled_in():
    ends = [set(kind(f"{text}\n\nWhat is the tone of it?").marks) for text in ("A b c d", "E f g")]
    begins = [set(kind(f"Tell the tone of: {text}").marks) for text in ("A b c d e", "E f g h i")]
    numbers = [set(kind(f"Was king {n} of France tall, or not so?").marks) for n in (7, 12)]
    for first, second in (ends, begins, numbers):
        assert first & second
    assert not ends[0] & begins[0]
    assert not set(kind("Tell the tone of: it", 16).marks) & set(kind("Tell the tone of: it").marks)


def paid(job: int, prompt: str, tokens: int = 10) -> PaidAnswer:
    request = asked(prompt).to_json().decode()
    return PaidAnswer(job, "m", TaskType.CODING, request, 5, tokens, job == 1, 100)


def test_a_batch_leaves_sums_for_its_kinds_and_for_marks_that_many_of_its_jobs_share():
    alike = [paid(n, f"Translate into Python this line: {chr(97 + n)} end {n}") for n in range(12)]
    others = [paid(50 + n, f"{word} alone stands here {word}x") for n, word in enumerate("pqrst")]
    sums = sums_of([*alike, *others])
    assert sums["m", "coding"].answers == 17
    assert sums["m", "coding"].longest == 10
    marked = {name: own for (_, name), own in sums.items() if is_mark(name)}
    assert [own.answers for own in marked.values()] == [12]
    (own,) = marked.values()
    assert own.weak == 1
    assert own.input_bytes == sum(len(a.request) - FRAME_BYTES for a in alike)
