"""A project's named templates: making, finding and deleting versions, and reading them for intake.

A template is checked when it is made, by the same rules as the lines that will come of it. Which
version a line was made by is kept with its job, as the text it became is.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from producer.intake.lines import read_template
from producer.intake.refusal import Refusal
from producer.intake.templates import NAME, Template, read_reference
from shared.catalog.spec import Catalog
from shared.db.engine import Database
from shared.db.repositories import templates
from shared.db.repositories.templates import TemplateRow
from shared.errors import NotFoundError, UsageError

_REMEMBERED: Final = 256


class TemplateShelf:
    """Templates by project and name. Thread-safe."""

    def __init__(
        self, database: Database, catalog: Catalog, *, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._known_models = frozenset(catalog.models)
        self._clock = clock

    def create(self, project_id: str, name: str, raw: object) -> tuple[TemplateRow, Template]:
        """Make the next version; the newest one again where it says the same. Raises UsageError."""
        if not NAME.fullmatch(name):
            raise UsageError(
                "a template's name has 1 to 64 letters, digits, '_', '.' or '-'",
                code="invalid_value",
                param="name",
            )
        try:
            template = read_template(raw, self._known_models)
        except Refusal as refusal:
            message = f"{refusal.field}: {refusal.message}"
            raise UsageError(message, code=refusal.code, param=refusal.field) from None
        with self._database.transaction() as connection:
            row = templates.add(connection, project_id, name, template.fields, self._clock())
        return row, template

    def get(self, project_id: str, reference: str) -> TemplateRow:
        """The version a reference means; raises NotFoundError."""
        name, version = _known(reference)
        with self._database.reading() as connection:
            row = templates.find(connection, project_id, name, version)
        if row is None:
            raise _missing()
        return row

    def versions(self, project_id: str, name: str) -> Sequence[TemplateRow]:
        """All versions, the newest first; raises NotFoundError."""
        _known(name)
        with self._database.reading() as connection:
            rows = templates.versions(connection, project_id, name)
        if not rows:
            raise _missing()
        return rows

    def page(self, project_id: str, limit: int, after: str | None) -> Sequence[TemplateRow]:
        """The newest version of each name, by name; `after`: a reference on the page before."""
        last = None if after is None else _known(after)[0]
        with self._database.reading() as connection:
            return templates.page(connection, project_id, limit=limit, after=last)

    def delete(self, project_id: str, name: str) -> None:
        """Take a name with all its versions out of use; raises NotFoundError."""
        _known(name)
        with self._database.transaction() as connection:
            if not templates.delete(connection, project_id, name, self._clock()):
                raise _missing()

    def of(self, project_id: str) -> "ProjectTemplates":
        """The project's templates for one reading of lines."""
        return ProjectTemplates(self._database, project_id)


class ProjectTemplates:
    """Finds templates for one reading of lines: a name means the same version all through it, so
    a version made meanwhile does not divide a file (of more names than it remembers it looks the
    others up anew). Not thread-safe.
    """

    def __init__(self, database: Database, project_id: str) -> None:
        self._database = database
        self._project_id = project_id
        self._found: dict[str, Template | None] = {}

    def __call__(self, reference: str) -> Template:
        """Raises Refusal for a template that is not there."""
        if reference not in self._found:
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            self._found[reference] = self._read(reference)
        template = self._found[reference]
        if template is None:
            raise Refusal(
                "template_not_found",
                "template",
                "there is no such template in this project; `promptmill template list` shows all",
            )
        return template

    def _read(self, reference: str) -> Template | None:
        name, version = read_reference(reference)
        with self._database.reading() as connection:
            row = templates.find(connection, self._project_id, name, version)
        if row is None:
            return None
        return template_of(row)


def template_of(row: TemplateRow) -> Template:
    """The template in a row."""
    return Template.of(row.fields, f"{row.name}@{row.version}")


def _known(reference: str) -> tuple[str, int | None]:
    try:
        return read_reference(reference)
    except Refusal:
        raise _missing() from None


def _missing() -> NotFoundError:
    return NotFoundError(
        "there is no such template in this project", code="template_not_found", param="template"
    )
