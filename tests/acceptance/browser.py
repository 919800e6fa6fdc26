"""A real browser that looks at the console: Debian's Chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    Page,
    Request,
    ViewportSize,
    expect,
    sync_playwright,
)

from tests.acceptance.accessible import obstacles

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REQUIRED = "CONSOLE_BROWSER_REQUIRED"
"""Set where a missing browser is a failure: in CI."""
SCREENSHOTS = "CONSOLE_SCREENSHOTS"
"""A folder for the pictures that the README shows; none are kept where it is not set."""
ZONE = "Asia/Tokyo"
_PATIENCE_MS = 20_000


def browser_path() -> str:
    """Where the browser is; the test is skipped, or fails in CI, where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        say = pytest.fail if os.environ.get(REQUIRED) else pytest.skip
        say("no browser here: `apt-get install chromium` lets the console's tests run")
    return str(found)


class Look:
    """One person's window, with everything that went wrong in it."""

    def __init__(self, page: Page, base_url: str) -> None:
        self.page = page
        self.faults: list[str] = []
        self.base_url = base_url
        self._host = urlsplit(base_url).netloc
        self.unwell_expected = False
        page.set_default_timeout(_PATIENCE_MS)
        page.on("console", lambda said: self._note(said.type, said.text))
        page.on("pageerror", lambda error: self._note("error", str(error)))
        page.on("request", self._check)
        page.on("websocket", lambda socket: self._check_host(socket.url))

    def _note(self, kind: str, text: str) -> None:
        if kind == "error" and not self.unwell_expected:
            self.faults.append(text)

    def _check(self, request: Request) -> None:
        self._check_host(request.url)

    def _check_host(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"data", "blob"} and parts.netloc != self._host:
            self.faults.append(f"asked elsewhere: {url}")

    def open(self, path: str) -> None:
        """Go to a page of the console, wait for its heading and its live connection, and look for
        what keeps people from using it.
        """
        self.page.goto(f"{self.base_url}/console{path}")
        expect(self.page.locator("#content h1")).to_be_visible()
        self.page.wait_for_function("window.socket?.connected ?? window.did_handshake ?? true")
        self.faults += [f"{path}: {found}" for found in obstacles(self.page)]

    def picture(self, name: str) -> None:
        """Keep what is seen, where pictures are wanted."""
        folder = os.environ.get(SCREENSHOTS)
        if folder:
            self.page.wait_for_timeout(900)  # until drawings stand still
            self.page.screenshot(path=Path(folder) / f"{name}.png")


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser for many windows."""
    path = browser_path()
    with sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-background-networking", "--disable-gpu"]
        browser = driver.chromium.launch(executable_path=path, args=options)
        expect.set_options(timeout=_PATIENCE_MS)
        yield browser
        browser.close()


@contextmanager
def looking(browser: Browser, base_url: str) -> Iterator[Look]:
    """A window of a person of its own; fails where anything went wrong in it."""
    size: ViewportSize = {"width": 1280, "height": 860}
    context = browser.new_context(
        viewport=size, timezone_id=ZONE, color_scheme="light", device_scale_factor=1
    )
    look = Look(context.new_page(), base_url)
    try:
        yield look
    finally:
        context.close()
    assert not look.faults, look.faults
