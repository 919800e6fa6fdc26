"""`project create|list` and `key create|revoke|list`: who may do what, where."""

from typing import Annotated

import typer

from producer.cli.arguments import AsJson, Project, usd
from producer.cli.printing import moment, money, note, print_json, print_table, say
from producer.cli.session import connected

projects = typer.Typer(name="project", help="Projects (admin key).", no_args_is_help=True)
_COLUMNS = (
    *("key", "name", "project", "ends in", "scopes", "rpm", "tokens/day", "may spend"),
    *("created", "expires", "revoked"),
)
keys = typer.Typer(name="key", help="API keys of a project (admin key).", no_args_is_help=True)


@projects.command("create")
def create_project(
    name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Make a project; its budget is unlimited until one is set."""
    with connected() as mill:
        made = mill.create_project(name)
    if as_json:
        print_json(made)
    else:
        say(f"project {made['id']}: `promptmill budget set --project {made['id']}` limits it")


@projects.command("list")
def list_projects(as_json: AsJson = False) -> None:
    """All projects."""
    with connected() as mill:
        found = list(mill.projects())
    if as_json:
        print_json(found)
        return
    rows = [(row["id"], row.get("name"), moment(row.get("created_at"))) for row in found]
    print_table("", ("project", "name", "created"), rows)


@keys.command("create")
def create_key(
    project: Project = None,
    name: Annotated[str | None, typer.Option("--name", help="What the key is for.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help="submit, read or admin; may be repeated.")
    ] = None,
    rpm: Annotated[
        int | None, typer.Option("--rpm", metavar="N", min=1, help="Requests per minute.")
    ] = None,
    tokens_per_day: Annotated[
        int | None,
        typer.Option("--tokens-per-day", metavar="N", min=1, help="Tokens a day, in UTC."),
    ] = None,
    spend_limit: Annotated[
        str | None,
        typer.Option("--spend-limit", metavar="USD", help="What it may cost in all its time."),
    ] = None,
    expires_in: Annotated[
        int | None, typer.Option("--expires-in", metavar="SECONDS", min=1, help="Its life.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key for a project; it is shown this once."""
    limit = usd(spend_limit, "--spend-limit")
    with connected() as mill:
        made = mill.create_key(
            project=project,
            name=name,
            scopes=scope or None,
            requests_per_minute=rpm,
            tokens_per_day=tokens_per_day,
            spend_limit_usd=limit,
            expires_in_s=expires_in,
        )
    if as_json:
        print_json(made)
    else:
        say(made["key"])
        note(f"{made['id']}: keep it now, it is not shown again")


@keys.command("limit")
def limit_key(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", show_default=False)],
    spend_limit: Annotated[
        str, typer.Option("--spend-limit", metavar="USD", help="The new limit.", show_default=False)
    ],
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Change the spend limit of a key that has one; jobs it held go on by themselves."""
    limit = usd(spend_limit, "--spend-limit")
    with connected(project) as mill:
        changed = mill.limit_key(key_id, limit or spend_limit)
    if as_json:
        print_json(changed)
    else:
        say(f"{key_id} may spend {money(changed['spend_limit_nusd'])} in all its time")


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", show_default=False)],
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Make a key useless from now on."""
    with connected(project) as mill:
        gone = mill.revoke_key(key_id)
    if as_json:
        print_json(gone)
    else:
        say(f"{key_id} is revoked")


@keys.command("list")
def list_keys(project: Project = None, as_json: AsJson = False) -> None:
    """A project's keys, without their secrets."""
    with connected() as mill:
        found = list(mill.api_keys(project))
    if as_json:
        print_json(found)
        return
    print_table(
        "",
        _COLUMNS,
        [
            (
                row["id"],
                row.get("name"),
                row.get("project"),
                row.get("hint"),
                row.get("scopes"),
                row.get("requests_per_minute"),
                row.get("tokens_per_day"),
                money(row.get("spend_limit_nusd")),
                moment(row.get("created_at")),
                moment(row.get("expires_at")),
                moment(row.get("revoked_at")),
            )
            for row in found
        ],
    )
