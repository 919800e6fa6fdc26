"""`template create|list|show|delete`: named prompt templates of a project."""

from pathlib import Path
from typing import Annotated, Any

import typer

from producer.cli.arguments import AsJson, InputFile, Project, input_file
from producer.cli.printing import moment, note, print_json, print_table, say
from producer.cli.session import connected

group = typer.Typer(name="template", help="Prompt templates of a project.", no_args_is_help=True)

Reference = Annotated[
    str, typer.Argument(metavar="NAME[@VERSION]", help="name or name@3.", show_default=False)
]
Name = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]


@group.command("create")
def create(name: Name, file: InputFile, project: Project = None, as_json: AsJson = False) -> None:
    """Make a template, or its next version, of FILE: a prompt's text with {{ variables }}; a .json
    file holds the fields of an input line instead.
    """
    template = read_template_file(file)
    with connected(project) as mill:
        made = mill.create_template(name, template)
    if as_json:
        print_json(made)
    else:
        say(f"{made['id']}: {', '.join(made['variables']) or 'no variables'}")


@group.command("list")
def list_templates(project: Project = None, as_json: AsJson = False) -> None:
    """The newest version of each template."""
    with connected(project) as mill:
        found = list(mill.templates())
    if as_json:
        print_json(found)
    elif found:
        _show_table(found)
    else:
        note("no templates yet: `promptmill template create NAME FILE` makes one")


@group.command("show")
def show(
    reference: Reference,
    project: Project = None,
    versions: Annotated[
        bool, typer.Option("--versions", help="List all versions instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """A template's text; its newest version where none is named."""
    with connected(project) as mill:
        if versions:
            found = list(mill.template_versions(reference))
            print_json(found) if as_json else _show_table(found)
            return
        template = mill.template(reference)
    if as_json:
        print_json(template)
    elif list(template["template"]) == ["prompt"]:
        say(template["template"]["prompt"])
    else:
        print_json(template["template"])


@group.command("delete")
def delete(name: Name, project: Project = None, as_json: AsJson = False) -> None:
    """Take a template with all its versions out of use."""
    with connected(project) as mill:
        gone = mill.delete_template(name)
    if as_json:
        print_json(gone)
    else:
        say(f"{name} is deleted")


def read_template_file(name: str) -> str | dict[str, Any]:
    """The template in a file: JSON in one that ends in .json, otherwise a prompt's text, from
    which one new line at its end is taken off; bad usage where it is neither.
    """
    import orjson

    source = input_file(name)
    raw = source.read_bytes() if isinstance(source, Path) else source.read()
    if name.lower().endswith(".json"):
        try:
            parsed = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise typer.BadParameter(f"{name} is not valid JSON: {error}") from None
        if not isinstance(parsed, dict | str):
            raise typer.BadParameter(f"{name} must hold an object or a string")
        return parsed
    try:
        return raw.decode("utf-8-sig").removesuffix("\n")
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{name} is not UTF-8 (byte {error.start + 1})") from None


def _show_table(found: list[dict[str, Any]]) -> None:
    rows = [
        (each["name"], each["version"], each["variables"], moment(each["created_at"]))
        for each in found
    ]
    print_table("", ("template", ">version", "variables", "created"), rows)
