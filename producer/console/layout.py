"""What stands around every page: the head, the places to go, and what happens when a call fails."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import structlog
from nicegui import ui
from nicegui.element import Element
from nicegui.elements.mixins.text_element import TextElement
from starlette.concurrency import run_in_threadpool

from producer.console.desk import Desk
from producer.console.session import PROJECT, ROOT, THEME, ZONE
from shared.errors import AccessError, PromptmillError

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_PLACES: Final = (
    ("Batches", "/"),
    ("New batch", "/upload"),
    ("Requests", "/requests"),
    ("Costs", "/costs"),
    ("Budgets", "/budgets"),
    ("Alerts", "/alerts"),
    ("Providers", "/providers"),
    ("Learning", "/learning"),
    ("Webhooks", "/webhooks"),
    ("Try a prompt", "/try"),
    ("Compare", "/compare"),
)
_LONG: Final = 11
"""Characters of a figure that must be written smaller."""
_ALERTS_S: Final = 20.0
_YEAR_S: Final = 365 * 86_400
_STYLE: Final = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
_SCRIPT: Final = f"""
const pmKeep = (name, value) => document.cookie =
  name + "=" + encodeURIComponent(value) + "; path={ROOT}; max-age={_YEAR_S}; samesite=lax";
pmKeep("{ZONE}", Intl.DateTimeFormat().resolvedOptions().timeZone);
function pmTheme() {{
  const dark = !document.body.classList.contains("body--dark");
  pmKeep("{THEME}", dark ? "dark" : "light");
  Quasar.Dark.set(dark);
}}
function pmProject(choice) {{ pmKeep("{PROJECT}", choice.value); location.reload(); }}
"""


@contextmanager
def frame(desk: Desk, title: str, place: str = "") -> Iterator[None]:
    """The page around a block; an error of ours in it is shown in its stead."""
    ui.page_title(f"{title} · Promptmill")
    ui.add_css(_STYLE)
    ui.add_body_html(f"<script>{_SCRIPT}</script>")
    if desk.reader.dark is not None:
        ui.dark_mode(desk.reader.dark)
    ui.query("main.q-page").props("role=none")  # the content alone is the main part
    with part("div", "pm-page"):
        with part("header", "pm-head"):
            _head(desk)
        with part("nav", "pm-nav").props('aria-label="Console"'):
            for name, path in _PLACES:
                with link(name, f"{ROOT}{path}", "pm-place") as entry:
                    if name == "Alerts":
                        _count_alerts(desk)
                if name == place:
                    entry.props('aria-current="page"')
            flower = desk.context.settings.flower_url
            if flower and desk.caller().is_admin:
                link("Flower: workers", flower, "pm-place").props("target=_blank rel=noopener")
        main = part("main", "pm-main").props("id=content tabindex=-1")
        ui.skip_link("Skip to the content", target=main)
        with main:
            words("h1", title)
            try:
                yield
            except PromptmillError as error:
                words("p", error.message, "pm-problem").props("role=alert")


def _count_alerts(desk: Desk) -> None:
    """Beside the link, once the page stands: no page waits for it."""
    count = words("span", "", "pm-count")
    count.set_visibility(False)

    async def look() -> None:
        with suppress(PromptmillError):
            open_now = len(await ask(desk.alerts))
            count.set_text(str(open_now))
            count.set_visibility(open_now > 0)

    ui.timer(_ALERTS_S, look)


def _head(desk: Desk) -> None:
    link("Promptmill", f"{ROOT}/", "pm-brand")
    caller = desk.caller()
    if caller.is_admin:
        with part("label", "pm-choice"):
            words("span", "Project")
            with part("select").props('onchange="pmProject(this)" data-test=project'):
                for name in ("", *desk.projects()):
                    option = words("option", name or "all projects").props(f'value="{name}"')
                    if name == (desk.reader.project or ""):
                        option.props("selected")
    else:
        words("span", str(caller.project_id), "pm-choice")
    words("button", "Light / dark", "pm-button pm-small").props('type=button onclick="pmTheme()"')
    with part("form").props(f'method=post action="{ROOT}/logout"'):
        words("button", "Log out", "pm-button pm-small").props("type=submit")


def field(kind: str, name: str, value: str) -> Element:
    """A field of a form that begins with a value."""
    made = part("input", "pm-field").props(f"type={kind} name={name}")
    # As the attribute, which Vue tells by the sign: it sets the property again whenever it draws
    # the page, and what somebody is typing would be gone.
    made.props["^value"] = value
    return made


def part(tag: str, classes: str = "") -> Element:
    """An element to put others in."""
    return Element(tag).classes(classes)


def words(tag: str, text: str, classes: str = "") -> TextElement:
    """An element with a text, which is shown as it is and never read as HTML."""
    element = TextElement(tag=tag, text=text)
    element.classes(classes)
    return element


def facts(known: Mapping[str, str]) -> None:
    """Names and what they are."""
    with part("dl", "pm-facts"):
        for name, value in known.items():
            words("dt", name)
            words("dd", value)


def link(text: str, href: str, classes: str = "") -> TextElement:
    """A link within the console."""
    element = words("a", text, classes)
    element.props["href"] = href
    return element


@contextmanager
def card(title: str, classes: str = "") -> Iterator[Element]:
    """A section with a heading."""
    with part("section", f"pm-card {classes}") as section:
        words("h2", title)
        yield section


class Figure:
    """A figure with its name; `show` changes it."""

    def __init__(self, name: str, text: str = "", title: str = "") -> None:
        with part("div", "pm-figure"):
            words("div", name, "pm-name")
            self._value = words("div", text, "pm-value")
            self._under = words("div", "", "pm-sub")
        self.show(text, title)

    def show(self, text: str, title: str = "", under: str = "", nusd: int | None = None) -> None:
        """Another figure; `nusd` is the exact amount behind it."""
        self._value.set_text(text)
        self._value.classes(replace="pm-value" if len(text) < _LONG else "pm-value pm-long")
        self._under.set_text(under)
        self._value.props["title"] = title
        self._value.props["data-nusd"] = nusd


async def ask(call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """A blocking call in a thread."""
    return await run_in_threadpool(call, *args, **kwargs)


async def attempt(act: Callable[[], Awaitable[Any]], done: str = "") -> bool:
    """Do something the reader asked for, and tell how it went; whether it went well."""
    try:
        await act()
    except PromptmillError as error:
        ui.notify(error.message, type="negative", timeout=8000)
        return False
    if done:
        ui.notify(done, type="positive")
    return True


def every(
    seconds: float, look: Callable[[], Awaitable[None]], *, at_once: bool = False
) -> ui.timer:
    """Look again and again while the page is open. What does not answer is told and tried again;
    whose session has ended is shown the way in.
    """
    trouble = words("p", "", "pm-problem").props("role=status")
    trouble.set_visibility(False)

    async def safely() -> None:
        try:
            await look()
        except AccessError as error:
            if not error.known:
                ui.navigate.to("/login")  # NiceGUI puts the console's root before it
                return
            trouble.set_text(error.message)
        except PromptmillError as error:
            trouble.set_text(f"{error.message}; looking again …")
        else:
            trouble.set_text("")
        trouble.set_visibility(bool(trouble.text))

    return ui.timer(seconds, safely, immediate=at_once)


def button(text: str, act: Callable[[], Any], classes: str = "") -> TextElement:
    """A button."""
    element = words("button", text, f"pm-button {classes}").props("type=button")
    element.on("click", act)
    return element
