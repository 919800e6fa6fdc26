"""The NiceGUI app: every page registered once a process, served by whoever mounts what it makes."""

from fastapi import FastAPI
from nicegui import ui

from producer.console.pages import (
    alerts,
    batch,
    batches,
    budgets,
    compare,
    costs,
    job,
    learning,
    providers,
    requests,
    trying,
    upload,
    webhook,
    webhooks,
)

PAGES = (
    batches,
    batch,
    job,
    upload,
    requests,
    costs,
    budgets,
    alerts,
    providers,
    learning,
    webhooks,
    webhook,
    trying,
    compare,
)
"""Importing one registers it."""

_ICON = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>"
    "<circle cx='8' cy='8' r='7' fill='#3654c8'/><path d='M8 1a7 7 0 0 1 0 14z' fill='#fff'/></svg>"
)


def make_pages() -> FastAPI:
    """An app of its own, so that nothing of NiceGUI gets in the way of the API's requests."""
    host = FastAPI(openapi_url=None)
    ui.run_with(
        host,
        title="Promptmill",
        favicon=_ICON,
        dark=None,
        language="en-US",
        binding_refresh_interval=None,
        tailwind=False,
        show_welcome_message=False,
    )
    return host
