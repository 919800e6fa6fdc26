"""`feedback`, `learned show` and `learned reset`: what answers were worth, and what that taught."""

from typing import Annotated

import typer

from producer.cli.arguments import AsJson
from producer.cli.printing import counted, print_json, print_table, say
from producer.cli.session import connected
from shared.domain.inference import TaskType

group = typer.Typer(name="learned", help="What outcomes say of the models.", no_args_is_help=True)

_Project = Annotated[
    str | None, typer.Option("--project", metavar="P", help="The project; default: the key's own.")
]
_WORDS = {"good": 1.0, "bad": 0.0}


def feedback(
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job's id.", show_default=False)],
    score: Annotated[
        str,
        typer.Argument(metavar="good|bad|0..1", help="What its answer was.", show_default=False),
    ],
    as_json: AsJson = False,
) -> None:
    """Say what a job's answer was worth; routing learns from it."""
    with connected() as mill:
        told = mill.feedback(job, _score(score))
    if as_json:
        print_json(told)
    else:
        say(f"{told['job_id']}: {told['score']:g}, for {told['model']} on {told['task_type']}")


@group.command("show")
def show(project: _Project = None, as_json: AsJson = False) -> None:
    """How good each model's answers were per task type, and what routing makes of it."""
    with connected() as mill:
        told = mill.outcomes(project)
    if as_json:
        print_json(told)
        return
    if not told["data"]:
        say(f"project {told['project']} has learned nothing yet")
    print_table(
        "what outcomes say; chances of a good answer",
        ("model", "task type", ">prior", ">success", ">at least", ">quality", "seen"),
        [
            (
                *(row["model"], row["task_type"]),
                *(_share(row[name]) for name in ("prior", "success", "at_least")),
                f"{row['quality_shift']:+.2f}",
                ", ".join(f"{kind} {n:.0f}" for kind, n in row["evidence"].items() if n >= 0.5),  # noqa: PLR2004
            )
            for row in told["data"]
        ],
    )


@group.command("reset")
def reset(
    model: Annotated[str | None, typer.Option(metavar="M", help="Of this model only.")] = None,
    task_type: Annotated[
        TaskType | None, typer.Option("--task-type", help="Of this task type only.")
    ] = None,
    project: _Project = None,
    as_json: AsJson = False,
) -> None:
    """Forget what was learned: routing goes by the catalog again."""
    with connected() as mill:
        told = mill.forget_outcomes(project, model=model, task_type=task_type)
    if as_json:
        print_json(told)
    else:
        say(f"forgotten in project {told['project']}: {counted(told['forgotten'], 'estimate')}")


def _score(text: str) -> float:
    try:
        score = _WORDS.get(text.lower())
        score = float(text) if score is None else score
    except ValueError:
        score = -1.0
    if not 0.0 <= score <= 1.0:
        raise typer.BadParameter("good, bad, or a number from 0 to 1", param_hint="SCORE")
    return score


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
