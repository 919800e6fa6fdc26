"""The work of every contestant: the same prompts, the same answers, one catalog."""

from pathlib import Path

import orjson

MODEL = "bench-small"
_TASKS = (
    "What is the capital of the country number {i} on the list?",
    "Write a short story about a lighthouse keeper who finds message {i} in a bottle.",
    (
        "Summarize the following report in two sentences: shipment {i} left the harbour on Monday, "
        "was delayed by a storm for three days, and arrived with two of its forty crates damaged."
    ),
    "Write a Python function that returns the {i}-th row of Pascal's triangle.",
    "A train leaves at 9:00 and drives {i} km at 80 km/h. When does it arrive? Show each step.",
    "Classify this review as positive or negative: 'Order {i} came late, but the lamp is lovely.'",
    "Translate into French: the {i} geese fly south before the first snow.",
    "Who wrote the book that is number {i} in the catalogue?",
)


def prompt(i: int) -> str:
    """The i-th prompt; 40 to 220 characters, of every task type."""
    return _TASKS[i % len(_TASKS)].format(i=i)


def body(i: int) -> dict[str, object]:
    """What a contestant without routing sends."""
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": prompt(i)}],
        "max_tokens": 256,
    }


def write_jsonl(path: Path, lines: int) -> Path:
    """A file to submit."""
    with path.open("wb") as file:
        for i in range(1, lines + 1):
            line = {"custom_id": f"line-{i}", "prompt": prompt(i), "max_tokens": 256}
            file.write(orjson.dumps(line) + b"\n")
    return path


def write_catalog(path: Path, base_url: str, provider: str = "", more: str = "") -> Path:
    """A catalog of six models in three tiers of one provider. provider: more lines about it; more:
    what else stands there.
    """
    parts = [f'[providers.bench]\nwire = "openai"\nbase_url = "{base_url}"\n{provider}']
    for tier, price, quality in (("cheap", 0.2, 0.6), ("mid", 2.0, 0.75), ("high", 5.0, 0.9)):
        prices = f"input_usd_per_mtok = {price}\noutput_usd_per_mtok = {price * 5}\n"
        model = f'provider = "bench"\ntier = "{tier}"\n{prices}quality = {quality}\n'
        size = "context_window = 128000\nmax_output_tokens = 8192\n"
        parts += [f'[models."bench-{tier}-{kind}"]\n{model}{size}' for kind in ("a", "b")]
    path.write_text("\n".join([*parts, more]))
    return path
