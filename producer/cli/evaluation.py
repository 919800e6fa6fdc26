"""`evaluate`: recorded outcomes replayed through the routing policy and its rivals."""

import math
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from producer.cli.arguments import AsJson, usd
from producer.cli.printing import counted, money, note, print_json, print_table, say

if TYPE_CHECKING:
    from producer.evaluating.outcomes import PriceOf
    from shared.catalog.spec import ModelSpec
    from shared.settings import Settings

_PERCENT = 100
_ALIKE = 0.9
"""Of pairs of right answers; where fewer compare as equal, something is not understood."""
_GZIP = b"\x1f\x8b"


def evaluate(  # noqa: PLR0917 - typer gives options by name
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", help="Outcomes as JSON lines (docs/evaluation.md), joined by id."
        ),
    ],
    weak: Annotated[str | None, typer.Option(metavar="MODEL", help="The cheap model.")] = None,
    strong: Annotated[str | None, typer.Option(metavar="MODEL", help="The strong model.")] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="Asked as well; disagreement climbs. Repeatable."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="Only this model and others so named. Repeatable."),
    ] = None,
    responses: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Answers to join by id, as JSON lines.")
    ] = None,
    cost: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODEL=USD",
            help="A call's cost where no line says; or USD per million tokens, as 0.15/0.60, "
            "where lines tell tokens. Repeatable.",
        ),
    ] = None,
    target: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the strong model's quality.")
    ] = 0.95,
    plot: Annotated[
        Path | None, typer.Option(metavar="SVG", help="Write the frontier as a drawing.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What routing would have made of recorded outcomes: quality, cost, and how it compares."""
    from producer.client.address import read_settings
    from producer.evaluating.outcomes import (
        complete,
        only_models,
        read_outcomes,
        with_answers,
        with_costs,
        with_prices,
    )
    from producer.evaluating.plot import frontier_svg
    from producer.evaluating.replay import cast
    from producer.evaluating.replay import evaluate as replay
    from shared.deciding.classification.plugged import ANY_PROJECT, Classifiers

    settings = read_settings()
    outcomes = read_outcomes(
        *(_lines(file, "FILE") for file in files), names=[str(file) for file in files]
    )
    if responses is not None:
        outcomes = list(with_answers(outcomes, _lines(responses, "--responses")))
    if model:
        outcomes = only_models(outcomes, model)
    usd_by_call, price_of = _prices(cost or [], settings)
    outcomes = list(with_costs(with_prices(outcomes, price_of), usd_by_call))
    outcomes, incomplete, rare = complete(outcomes)
    classifier = Classifiers(settings.classifiers, settings.difficulties).of(ANY_PROJECT)
    told = replay(outcomes, cast(outcomes, weak, strong, peer or []), classifier, target)
    told |= {"incomplete": incomplete, "too_rarely_recorded": rare}
    if plot is not None:
        _draw(plot, frontier_svg(told))
    if as_json:
        print_json(told)
        return
    _print(told)
    if plot is not None:
        note(f"drawn: {plot}")


def _print(told: dict[str, Any]) -> None:
    say(f"{told['rows']:,} prompts, from {told['weak']} to {told['strong']}")
    if told["left_out"]:
        note(f"left out, for an answer is not recorded: {counted(told['left_out'], 'prompt')}")
    if told["incomplete"]:
        note(f"left out, for a model is not recorded: {counted(told['incomplete'], 'prompt')}")
    for name in told["too_rarely_recorded"]:
        note(f"takes no part, for it is recorded for too few prompts: {name}")
    alike = told["compares"]["right_pairs_alike"]
    if alike is not None and alike < _ALIKE:
        note(
            f"of two right answers only {_share(alike)} compare as equal: give what they come to "
            "as `parsed`"
        )
    names = {model: kind for kind, model in told["baselines"].items() if model}
    print_table(
        "one model for everything",
        ("model", ">quality", ">cost", "what"),
        [
            (row["model"], _share(row["quality"]), money(row["cost_nusd"]), names.get(row["model"]))
            for row in told["singles"]
        ],
    )
    print_table(
        f"policies; to reach a quality of {told['target_quality']:.3f}",
        (
            *("policy", ">APGR", ">CPT 50", ">CPT 80", ">strong calls", ">cost"),
            *(">as set: quality", ">strong calls", ">cost"),
        ),
        [
            (row["policy"], row["apgr"], row["cpt_50"], row["cpt_80"])
            + (_point(row["at_target"])[1:] + _point(row["as_set"]))
            for row in told["policies"]
        ],
    )
    _print_chosen(told)
    say(told["headline"]["text"])


def _print_chosen(told: dict[str, Any]) -> None:
    print_table(
        f"chosen on other prompts, for a quality of {told['target_quality']:.3f}",
        ("chosen of", ">quality", ">above target", ">cost", ">of strong", "mostly"),
        [
            (
                row["chosen_of"],
                _share(row["quality"]),
                f"{row['above_target']:+.3f} ± {row['error_95']:.3f}",
                money(row["cost_nusd"]),
                "-" if row["of_strong_cost"] is None else _share(row["of_strong_cost"]),
                row["ways"][0]["way"],
            )
            for row in told["chosen"]
        ],
    )
    print_table(
        "to be beaten",
        ("baseline", ">quality", "reaches the target", ">cost", ">the cascade costs"),
        [
            (
                row["baseline"],
                "-" if row["quality"] is None else _share(row["quality"]),
                "yes" if row["reaches_target"] else "no",
                money(row["cost_nusd"]),
                "-" if row["cascade_costs"] is None else f"{_share(row['cascade_costs'])} of it",
            )
            for row in told["compared"]
        ],
    )


def _point(point: dict[str, Any] | None) -> tuple[str, str, str]:
    if point is None:
        return ("-", "-", "-")
    return (_share(point["quality"]), _share(point["strong_share"]), money(point["cost_nusd"]))


def _share(value: float) -> str:
    return f"{value * _PERCENT:.1f} %"


def _lines(file: Path, option: str) -> list[bytes]:
    import gzip
    import zlib

    try:
        data = file.read_bytes()
        packed = data[:2] == _GZIP
        return (gzip.decompress(data) if packed else data).splitlines()
    except (OSError, EOFError, zlib.error) as error:
        raise typer.BadParameter(f"cannot read {file}: {error}", param_hint=option) from None


def _draw(file: Path, drawing: str) -> None:
    try:
        file.write_text(drawing, "utf-8")
    except OSError as error:
        raise typer.BadParameter(f"cannot write {file}: {error}", param_hint="--plot") from None


def _prices(given: list[str], settings: "Settings") -> "tuple[dict[str, str], PriceOf]":
    """What a call costs, by model; and what tokens cost: as given, else by the catalog."""
    import os

    from shared.catalog.loader import load_catalog
    from shared.catalog.pricing import cost_nusd
    from shared.domain.inference import Usage

    by_call: dict[str, str] = {}
    by_token: dict[str, tuple[Decimal, Decimal]] = {}
    for pair in given:
        name, equals, amount = pair.rpartition("=")
        if not equals or not name:
            raise typer.BadParameter(f"not MODEL=USD: {pair}", param_hint="--cost")
        inward, slash, outward = amount.partition("/")
        if slash:
            both = [Decimal(usd(part, "--cost") or "0") for part in (inward, outward)]
            by_token[name] = both[0], both[1]
        else:
            by_call[name] = usd(amount, "--cost") or "0"

    @cache
    def models() -> "Mapping[str, ModelSpec]":
        return load_catalog(settings.catalog, os.environ).models

    def price_of(name: str, tokens: tuple[int, int]) -> int | None:
        if name in by_token:
            per_input, per_output = by_token[name]
            # USD per million tokens is a thousand nano-dollars for each.
            return math.ceil((tokens[0] * per_input + tokens[1] * per_output) * 1000)
        if name in by_call or name not in models():
            return None
        return cost_nusd(models()[name].price, Usage(tokens[0], output_tokens=tokens[1]))

    return by_call, price_of
