"""`evaluate`: recorded outcomes replayed through the routing policy and its rivals."""

from pathlib import Path
from typing import Annotated, Any

import typer

from producer.cli.arguments import AsJson, usd
from producer.cli.printing import counted, money, note, print_json, print_table, say

_PERCENT = 100


def evaluate(  # noqa: PLR0917 - typer gives options by name
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Outcomes as JSON lines (docs/evaluation.md)."),
    ],
    weak: Annotated[str | None, typer.Option(metavar="MODEL", help="The cheap model.")] = None,
    strong: Annotated[str | None, typer.Option(metavar="MODEL", help="The strong model.")] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL", help="Asked as well; disagreement climbs. Repeatable."),
    ] = None,
    responses: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Answers to join by id, as JSON lines.")
    ] = None,
    cost: Annotated[
        list[str] | None,
        typer.Option(metavar="MODEL=USD", help="A call's cost where no line says. Repeatable."),
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
    from producer.evaluating.outcomes import read_outcomes, with_answers, with_costs
    from producer.evaluating.plot import frontier_svg
    from producer.evaluating.replay import cast
    from producer.evaluating.replay import evaluate as replay
    from shared.deciding.classification.plugged import ANY_PROJECT, Classifiers

    outcomes = read_outcomes(_lines(file, "FILE"))
    if responses is not None:
        outcomes = list(with_answers(outcomes, _lines(responses, "--responses")))
    outcomes = list(with_costs(outcomes, _costs(cost or [])))
    settings = read_settings()
    classifier = Classifiers(settings.classifiers, settings.difficulties).of(ANY_PROJECT)
    told = replay(outcomes, cast(outcomes, weak, strong, peer or []), classifier, target)
    if plot is not None:
        plot.write_text(frontier_svg(told), "utf-8")
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


def _point(point: dict[str, Any] | None) -> tuple[str, str, str]:
    if point is None:
        return ("-", "-", "-")
    return (_share(point["quality"]), _share(point["strong_share"]), money(point["cost_nusd"]))


def _share(value: float) -> str:
    return f"{value * _PERCENT:.1f} %"


def _lines(file: Path, option: str) -> list[bytes]:
    import gzip

    try:
        data = file.read_bytes()
        return (gzip.decompress(data) if file.suffix == ".gz" else data).splitlines()
    except (OSError, EOFError) as error:
        raise typer.BadParameter(f"cannot read {file}: {error}", param_hint=option) from None


def _costs(given: list[str]) -> dict[str, str]:
    costs = {}
    for pair in given:
        name, equals, amount = pair.rpartition("=")
        if not equals or not name:
            raise typer.BadParameter(f"not MODEL=USD: {pair}", param_hint="--cost")
        costs[name] = usd(amount, "--cost") or "0"
    return costs
