"""`project create|list` and `key create|revoke|list`: who may do what, where."""

from typing import Annotated

import typer

from producer.cli.arguments import AsJson, Project
from producer.cli.printing import moment, note, print_json, print_table, say
from producer.cli.session import connected

projects = typer.Typer(name="project", help="Projects (admin key).", no_args_is_help=True)
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
    expires_in: Annotated[
        int | None, typer.Option("--expires-in", metavar="SECONDS", min=1, help="Its life.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key for a project; it is shown this once."""
    with connected() as mill:
        made = mill.create_key(
            project=project, name=name, scopes=scope or None, expires_in_s=expires_in
        )
    if as_json:
        print_json(made)
    else:
        say(made["key"])
        note(f"{made['id']}: keep it now, it is not shown again")


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
        ("key", "name", "project", "ends in", "scopes", "created", "expires", "revoked"),
        [
            (
                row["id"],
                row.get("name"),
                row.get("project"),
                row.get("hint"),
                row.get("scopes"),
                moment(row.get("created_at")),
                moment(row.get("expires_at")),
                moment(row.get("revoked_at")),
            )
            for row in found
        ],
    )
