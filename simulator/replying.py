"""Composes an answer: the text, cut where max_tokens ends it, and the billed usage. Pure."""

from simulator.answers import answer, faulty_answer
from simulator.exchange import Ask, Choice, Finish, Reply
from simulator.fault_kinds import ANSWER_FAULTS
from simulator.json_answers import fitting_object
from simulator.usage import Usage, UsageOptions, measure, tokens_in

_FINISH: dict[str, Finish] = {"truncated": "length", "refused": "refusal", "blocked": "blocked"}
_SPEECHLESS = ("refused", "blocked")  # Gemini says nothing at all then
_UNLIMITED = 1 << 40


def compose(ask: Ask, fault: str | None, options: UsageOptions) -> Reply:
    """The answer to a request under an answer fault, or the good one. Raises SchemaError.

    Reasoning comes out of max_tokens first, as at the vendors; each choice has its own max_tokens.
    """
    kind = fault if fault in ANSWER_FAULTS else None
    most = _UNLIMITED if ask.max_tokens is None else ask.max_tokens
    reasoning = min(options.reasoning_tokens, most)
    choices = tuple(
        _choice(ask, kind, ask.seed + number, most - reasoning) for number in range(ask.choices)
    )
    visible = sum(tokens_in(len(choice.text.encode())) for choice in choices)
    usage = measure(ask.wire, ask.input_tokens, visible, reasoning * ask.choices, options)
    return Reply(choices, usage, unsure=kind is not None)


def usage_so_far(ask: Ask, reply: Reply, generated_bytes: int, options: UsageOptions) -> Usage:
    """What a stream used whose reader left after so many bytes of the answer."""
    most = _UNLIMITED if ask.max_tokens is None else ask.max_tokens
    reasoning = min(options.reasoning_tokens, most) * ask.choices
    whole = sum(tokens_in(len(choice.text.encode())) for choice in reply.choices)
    visible = min(tokens_in(generated_bytes), whole)
    return measure(ask.wire, ask.input_tokens, visible, reasoning, options)


def _choice(ask: Ask, fault: str | None, seed: int, room: int) -> Choice:
    if fault is None and ask.forced_tool is not None:
        arguments = fitting_object(ask.forced_tool.schema, ask.prompt, seed)
        if tokens_in(len(arguments.encode())) <= room:
            return Choice(arguments, "tool", ask.forced_tool)
        return Choice("", "length")
    if fault in _SPEECHLESS and ask.wire == "gemini":
        text = ""
    else:
        text = answer(ask, seed) if fault is None else faulty_answer(fault, ask, seed)
    finish: Finish = _FINISH.get(fault or "", "stop")
    encoded = text.encode()
    if tokens_in(len(encoded)) <= room:
        return Choice(text, finish)
    return Choice(encoded[: room * 4].decode("utf-8", "ignore"), "length")
