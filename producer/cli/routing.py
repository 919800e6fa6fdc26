"""`routing show|set` and `routing trial ...`: how a project routes, and policies tried."""

from typing import Annotated, Any

import orjson
import typer

from producer.cli.arguments import AsJson
from producer.cli.printing import print_json, print_table, say
from producer.cli.session import connected

group = typer.Typer(name="routing", help="How a project routes.", no_args_is_help=True)
trials = typer.Typer(
    name="trial", help="Another policy on a share of a project's jobs.", no_args_is_help=True
)
group.add_typer(trials)

_Project = Annotated[
    str | None, typer.Option("--project", metavar="P", help="The project; default: the key's own.")
]
_Wishes = Annotated[
    list[str],
    typer.Argument(
        metavar="NAME=VALUE...",
        help="preferences, allowed_models, preferred_models, fallback_models, max_latency_s, "
        "max_cost_usd, max_climbs, default_max_tokens, allow_downgrade, agreement, classify_with, "
        "classify_below, rubric, by_task_type; values as JSON, null leaves one to the catalog.",
        show_default=False,
    ),
]


@group.command("show")
def show(project: _Project = None, as_json: AsJson = False) -> None:
    """What the project wishes; what is not named is the catalog's."""
    with connected() as mill:
        _print(mill.routing(project), as_json)


@group.command("set")
def change(wishes: _Wishes, project: _Project = None, as_json: AsJson = False) -> None:
    """Change some of its wishes, such as agreement=true; those that are not named stay."""
    with connected() as mill:
        _print(mill.set_routing(project, **_read(wishes)), as_json)


@trials.command("begin")
def begin(
    name: Annotated[str, typer.Argument(metavar="TRIAL", show_default=False)],
    wishes: _Wishes,
    share: Annotated[float, typer.Option(help="Of the jobs, by the other policy.")] = 0.5,
    project: _Project = None,
    as_json: AsJson = False,
) -> None:
    """Run a share of the jobs (arm b) by the project's policy with these wishes changed."""
    with connected() as mill:
        _print(mill.begin_trial(name, _read(wishes), share, project), as_json)


@trials.command("show")
def report(project: _Project = None, as_json: AsJson = False) -> None:
    """What the trial has shown until now."""
    with connected() as mill:
        _print_trial(mill.trial(project), as_json)


@trials.command("end")
def end(project: _Project = None, as_json: AsJson = False) -> None:
    """End it: all jobs go by the project's own policy again."""
    with connected() as mill:
        _print_trial(mill.end_trial(project), as_json)


def _read(wishes: list[str]) -> dict[str, Any]:
    given = {}
    for wish in wishes:
        name, equals, value = wish.partition("=")
        try:
            given[name] = orjson.loads(value)
        except orjson.JSONDecodeError:
            equals = ""
        if not equals or not name.isidentifier():
            raise typer.BadParameter(f"not NAME=VALUE with a JSON value: {wish}")
    return given


def _print(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    wishes = [(name, orjson.dumps(value).decode()) for name, value in told["policy"].items()]
    if not wishes:
        say(f"project {told['project']} routes by the catalog")
    print_table(f"routing of project {told['project']}", ("wish", "value"), wishes)
    if told["trial"]:
        trial = told["trial"]
        say(f"trial {trial['name']}: {trial['share']:.0%} of the jobs by {trial['policy']}")


def _print_trial(told: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    print_table(
        f"trial {told['name']}; b: {orjson.dumps(told['policy']).decode()}",
        ("mean of", ">a", ">b", ">b less a", ">±", ">p"),
        [
            (
                figure,
                *(_figure(told["arms"][arm][figure]) for arm in ("a", "b")),
                *(_figure(difference[name]) for name in ("value", "error_95", "p")),
            )
            for figure, difference in told["differences"].items()
        ],
    )
    say(f"jobs: {told['arms']['a']['jobs']} by a, {told['arms']['b']['jobs']} by b")
    if told["better"]:
        say(f"better: {told['better']}, by {told['because']}")
    else:
        say(f"neither is shown to be better: {told['because']}")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
