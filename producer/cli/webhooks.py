"""`webhook create|list|test|redeliver|deliveries`: who is told of a batch's end."""

from typing import Annotated

import typer

from producer.cli.arguments import AsJson, Project
from producer.cli.printing import moment, note, print_json, print_table, say
from producer.cli.session import connected

group = typer.Typer(name="webhook", help="Signed announcements over HTTP.", no_args_is_help=True)

_Endpoint = Annotated[str, typer.Argument(metavar="ENDPOINT", show_default=False)]


@group.command("create")
def create(
    url: Annotated[str, typer.Argument(metavar="URL", show_default=False)],
    event: Annotated[
        list[str] | None,
        typer.Option("--event", help="An event's type, may be repeated; default: batch.*"),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="What the endpoint is for.")] = "",
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Make an endpoint; its signing secret is shown this once."""
    with connected(project) as mill:
        made = mill.create_webhook(url, event or None, name)
    if as_json:
        print_json(made)
    else:
        say(f"{made['id']}  {made['url']}")
        say(f"signing secret (shown this once): {made['signing_secret']}")


@group.command("list")
def list_endpoints(project: Project = None, as_json: AsJson = False) -> None:
    """The project's endpoints."""
    with connected(project) as mill:
        found = list(mill.webhooks())
    if as_json:
        print_json(found)
        return
    print_table(
        "",
        ("endpoint", "url", "events", "status", "created"),
        [
            (
                row["id"],
                row["url"],
                row.get("event_types"),
                row.get("status"),
                moment(row.get("created_at")),
            )
            for row in found
        ],
    )


@group.command("test")
def send_test(
    endpoint: _Endpoint,
    event: Annotated[str | None, typer.Option("--event", help="The event's type.")] = None,
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Send a made-up event. Exit code 1 when the receiver did not accept it."""
    with connected(project) as mill:
        answer = mill.test_webhook(endpoint, event)
    if as_json:
        print_json(answer)
    else:
        say(f"{endpoint} answered HTTP {answer.get('status_code') or 'nothing'}")
    if not answer.get("success"):
        note("promptmill: the endpoint did not accept the event")
        raise typer.Exit(1)


@group.command("redeliver")
def redeliver(
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", show_default=False)],
    project: Project = None,
    as_json: AsJson = False,
) -> None:
    """Send a delivery again, soon."""
    with connected(project) as mill:
        answer = mill.redeliver(delivery)
    if as_json:
        print_json(answer)
    else:
        say(f"{delivery} will be sent again")


@group.command("deliveries")
def deliveries(endpoint: _Endpoint, project: Project = None, as_json: AsJson = False) -> None:
    """What was sent to an endpoint, newest first, and with which outcome."""
    with connected(project) as mill:
        found = list(mill.deliveries(endpoint))
    if as_json:
        print_json(found)
        return
    print_table(
        "",
        ("delivery", "event", "status", ">tries", ">HTTP", "last error", "next try"),
        [
            (
                row["id"],
                row.get("event_type"),
                row.get("status"),
                row.get("tries"),
                str(row.get("status_code") or "-"),
                row.get("error"),
                moment(row.get("next_try_at")),
            )
            for row in found
        ],
    )
