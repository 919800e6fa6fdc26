"""What `submit` and `plan` read: JSON lines as they are, or the rows of a table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from producer.cli.arguments import input_file
from producer.cli.templates import read_template_file

if TYPE_CHECKING:
    from producer.client.uploads import Source
    from producer.intake.templates import Template

TemplateOption = Annotated[
    str | None,
    typer.Option(
        "--template", metavar="FILE|NAME", help="The rows' columns are this template's variables."
    ),
]
ModelDefault = Annotated[
    str | None,
    typer.Option("--model", help="For every line that names none: auto, a tier, a model."),
]
MaxTokensDefault = Annotated[
    int | None, typer.Option("--max-tokens", min=1, help="For every line that says none.")
]


def input_lines(
    file: str, template: str | None, model: str | None, max_tokens: int | None
) -> "Source":
    """The file's lines; bad usage where the file or the template cannot be read."""
    from producer.client.tables import SUFFIXES, table_lines

    source = input_file(file)
    given: dict[str, Any] = {"model": model, "max_tokens": max_tokens}
    defaults = {name: value for name, value in given.items() if value is not None}
    is_table = isinstance(source, Path) and source.suffix.lower() in SUFFIXES
    if template is None and not defaults and not is_table:
        return source
    return table_lines(source, None if template is None else _template(template), defaults)


def _template(given: str) -> "str | Template":
    """A file's template, read here; otherwise a name that the server knows."""
    from producer.intake.lines import NATIVE_FIELDS
    from producer.intake.refusal import Refusal
    from producer.intake.templates import parse_template, read_reference

    try:
        if Path(given).is_file():
            return parse_template(read_template_file(given), NATIVE_FIELDS)
        read_reference(given)
    except Refusal as refusal:
        where = f"{refusal.field}: " if refusal.field != "template" else ""
        raise typer.BadParameter(f"{where}{refusal.message}", param_hint="--template") from None
    return given
