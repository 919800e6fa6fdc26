"""`models`, `providers`, `route`, `plan`: what could answer, and what a file would do, unsent."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from producer.cli.arguments import AsJson, InputFile, MaxCost, Optimise, Project, input_file, usd
from producer.cli.printing import counted, money, note, print_json, print_table, say
from producer.cli.session import connected
from producer.cli.tables import MaxTokensDefault, ModelDefault, TemplateOption, input_lines

if TYPE_CHECKING:
    from producer.client.uploads import Source
    from producer.intake import Line
    from producer.previewing import Preview

_SHOWN = 20
_NOWHERE = "http://127.0.0.1:9"  # the discard port: nothing is sent there


def models(project: Project = None, as_json: AsJson = False) -> None:
    """The catalog's models, with prices in USD per million tokens."""
    with connected(project) as mill:
        # Not the words that have one chosen: those have no price.
        found = [row for row in mill.models() if row.get("owned_by") != "promptmill"]
    if as_json:
        print_json(found)
        return
    own = [(row["id"], row.get("promptmill") or row) for row in found]
    print_table(
        "USD per million tokens",
        ("model", "provider", "tier", ">input", ">output", ">context", "strengths", "available"),
        [
            (
                name,
                row.get("provider"),
                row.get("tier"),
                str(row.get("input_usd_per_mtok", "-")),
                str(row.get("output_usd_per_mtok", "-")),
                row.get("context_window"),
                row.get("strengths"),
                row.get("available"),
            )
            for name, row in own
        ],
    )


def providers(project: Project = None, as_json: AsJson = False) -> None:
    """The catalog's providers: which can be used, and how they are."""
    with connected(project) as mill:
        found = list(mill.providers())
    if as_json:
        print_json(found)
        return
    print_table(
        "",
        ("provider", "wire", "available", "state", "calls", "requests/min", "tokens/min", "why"),
        [
            (
                row["id"],
                row.get("wire"),
                row.get("available"),
                row.get("state"),
                *_use(row),
                row.get("reason") or "",
            )
            for row in found
        ],
    )


def _use(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Beside their limits, which hold a key."""
    use = row.get("use")
    if use is None:
        return "", "", ""
    keys = max(1, use["keys_in_use"])
    limits = (row.get("max_concurrency"), row.get("rpm"), row.get("tpm"))
    figures = (use["calls_in_flight"], use["requests_per_minute"], use["tokens_per_minute"])
    told = [
        f"{figure:,}" + (f" of {limit * keys:,}" if limit else "")
        for figure, limit in zip(figures, limits, strict=True)
    ]
    return told[0], told[1], told[2]


def route(
    prompt: Annotated[
        str | None, typer.Argument(metavar="[PROMPT]", help="One prompt.", show_default=False)
    ] = None,
    jsonl: Annotated[
        str | None,
        typer.Option("--jsonl", metavar="FILE", help="Input lines; - is standard input."),
    ] = None,
) -> None:
    """Where prompts would go and why, as JSON lines; needs no server and no network."""
    if (prompt is None) == (jsonl is None):
        raise typer.BadParameter("give either a PROMPT or --jsonl FILE")
    import orjson

    refused = 0
    for decision in _decisions(prompt, jsonl):
        if "error" in decision:
            refused += 1
        sys.stdout.buffer.write(orjson.dumps(decision, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()
    if refused:
        note(f"promptmill: {counted(refused, 'line')} without a route: `error` says why")
        raise typer.Exit(1)


def plan(
    file: InputFile,
    project: Project = None,
    template: TemplateOption = None,
    model: ModelDefault = None,
    max_tokens: MaxTokensDefault = None,
    max_cost: MaxCost = None,
    optimise: Optimise = None,
    as_json: AsJson = False,
) -> None:
    """What a file would cost and take: an estimate, nothing is submitted.

    Asks the running Promptmill; where none is set or running, estimates by the catalog found here.
    """
    source = input_lines(file, template, model, max_tokens)
    found = _planned(source, project, usd(max_cost, "--max-cost"), optimise)
    if as_json:
        print_json(found)
        return
    cost = found["cost_nusd"]
    say(f"likely {money(cost['p50'])}, hardly above {money(cost['p95'])}")
    say(f"at most {money(cost['worst'])}")
    say("(every climb made and every answer as long as it may be; retries come on top)")
    say(f"about {found['seconds']:g} s")
    rows = [(row["model"], row["jobs"]) for row in found["models"]]
    print_table("asked first", ("model", ">jobs"), rows)
    if found.get("allotment"):
        _show_allotment(found["allotment"])
    if found.get("duplicates"):
        say(f"of them {found['duplicates']} ask what an earlier line asks, and cost nothing")
    if found.get("rejected"):
        say(f"bad lines: {found['rejected']}")
    if found.get("unroutable"):
        say(f"lines that no model may answer: {found['unroutable']}")
    unpriced = sorted([*found["bad_lines"], *found["unpriced"]], key=lambda row: int(row["line"]))
    print_table(
        "cannot be priced",
        (">line", "code", "why"),
        [(str(row["line"]), row["code"], row["message"]) for row in unpriced[:_SHOWN]],
    )


def _show_allotment(spread: dict[str, Any]) -> None:
    """What a budget buys when it is spread over all jobs."""
    say(f"{money(spread['cap_nusd'])} are spread: {spread['expected_success']:.0%} good answers")
    if not spread["carries_all"]:
        say("it hardly carries the cheapest model for all of them: some may be held")


def _planned(
    source: "Source", project: str | None, max_cost: str | None, optimise: str | None
) -> dict[str, Any]:
    from producer import options
    from shared.errors import ConfigurationError

    try:
        with connected(project) as mill:
            return mill.plan(source, max_cost, optimise)
    except ConfigurationError as error:
        if error.code != "no_address":
            raise
    note("no Promptmill is running here: estimated by the catalog on this machine")
    preview, names = _preview(project)
    with opened(source) as file:
        cap = None if max_cost is None else options.usd(max_cost, "max_cost_usd")
        spread = options.optimise(optimise, cap)
        return preview.plan(_lines(file, names), None if spread is None else cap)


def _decisions(prompt: str | None, jsonl: str | None) -> Iterator[dict[str, Any]]:
    import orjson

    source = input_file(jsonl) if jsonl is not None else None
    preview, names = _preview()
    if source is None:
        yield from preview.routes(_lines([orjson.dumps({"prompt": prompt})], names))
        return
    with opened(source) as file:
        yield from preview.routes(_lines(file, names))


def _preview(project: str | None = None) -> "tuple[Preview, frozenset[str]]":
    """The deciders on this machine's catalog; where no provider can be used, as `up` would then
    run: with the simulator in the place of all that only lack a key.
    """
    import os

    from producer.client.address import read_settings
    from producer.previewing import Preview
    from shared.catalog.loader import load_catalog
    from shared.deciding.classification.plugged import ANY_PROJECT, Classifiers

    settings = read_settings()
    catalog = load_catalog(settings.catalog, os.environ, simulator_url=settings.simulator_url)
    if all(model.provider in catalog.unavailable for model in catalog.models.values()):
        catalog = load_catalog(settings.catalog, os.environ, simulator_url=_NOWHERE)
    classifier = Classifiers(settings.classifiers, settings.difficulties).of(project or ANY_PROJECT)
    return Preview(catalog, classifier=classifier), frozenset(catalog.models)


def _lines(source: Any, names: frozenset[str]) -> "Iterator[Line]":
    from producer.client.address import read_settings
    from producer.intake import IntakeLimits, read_lines

    return read_lines(source, IntakeLimits(read_settings().max_line_bytes), names)


@contextmanager
def opened(source: "Source") -> Iterator[BinaryIO]:
    """The input, from its start, as often as it is read."""
    from producer.client import uploads

    with uploads.opened(source) as file:
        yield file
