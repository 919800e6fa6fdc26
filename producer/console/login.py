"""Logging in and out: a plain form that needs no script."""

import html
from collections.abc import Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from producer.accounts.access import Access, digest_of
from producer.console.session import ROOT, ZONE, Sessions
from shared.errors import PromptmillError

LOGIN: Final = f"{ROOT}/login"
_LARGEST_FORM: Final = 8192


class Login:
    """The two endpoints of the door."""

    def __init__(self, access: Access, sessions: Sessions, warm: Callable[[], None]) -> None:
        """`warm`: somebody is about to come in."""
        self._access = access
        self._warm = warm
        self._sessions = sessions

    async def show(self, request: Request) -> Response:
        """The form."""
        self._warm()
        return _form(inside(request.query_params.get("next")))

    async def enter(self, request: Request) -> Response:
        """Look at the key and begin a session."""
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > _LARGEST_FORM:
                return _form(f"{ROOT}/", "That is too long to be a key.", HTTPStatus.BAD_REQUEST)
        fields = parse_qs(body.decode("utf-8", "replace"))
        key = fields.get("key", [""])[0].strip()
        wanted = inside(fields.get("next", [None])[0])
        try:
            await run_in_threadpool(self._access.caller, f"Bearer {key}")
        except PromptmillError as error:
            return _form(wanted, error.message, HTTPStatus.FORBIDDEN)
        response = RedirectResponse(wanted, HTTPStatus.SEE_OTHER)
        self._sessions.begin(response, digest_of(key), secure=request.url.scheme == "https")
        return response

    async def leave(self, _request: Request) -> Response:
        """End the session."""
        response = RedirectResponse(LOGIN, HTTPStatus.SEE_OTHER)
        self._sessions.end(response)
        return response


def inside(path: str | None) -> str:
    """Where to go after logging in: a page of the console and nowhere else."""
    given = path or ""
    is_ours = given.startswith(f"{ROOT}/") and "\\" not in given and given.isprintable()
    return given if is_ours and not given.startswith(LOGIN) else f"{ROOT}/"


def _form(wanted: str, problem: str = "", status: int = HTTPStatus.OK) -> Response:
    told = f'<p class="problem" role="alert">{html.escape(problem)}</p>' if problem else ""
    page = _PAGE.replace("{problem}", told).replace("{next}", html.escape(wanted, quote=True))
    return HTMLResponse(page, status, headers={"cache-control": "no-store"})


_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Log in · Promptmill</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; --ink: #1b2130; --soft: #5a6478; --paper: #f4f5f8;
  --card: #fff; --line: #d5dae3; --brand: #3654c8; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaf0; --soft: #a2abbd;
  --paper: #10131a; --card: #191e28; --line: #343c4c; --brand: #5d7bf0; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1rem;
  background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { width: min(26rem, 100%); background: var(--card); border: 1px solid var(--line);
  border-radius: 14px; padding: 2rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
p { color: var(--soft); margin: 0 0 1.25rem; }
label { display: block; font-weight: 600; margin-bottom: .35rem; }
input { width: 100%; font: inherit; padding: .6rem .75rem; border-radius: 8px;
  border: 1px solid var(--line); background: var(--paper); color: inherit; }
button { width: 100%; margin-top: 1rem; font: inherit; font-weight: 600; padding: .65rem;
  border: 0; border-radius: 8px; background: #3654c8; color: #fff; cursor: pointer; }
:focus-visible { outline: 3px solid var(--brand); outline-offset: 2px; }
.problem { color: var(--bad); font-weight: 600; }
</style></head><body><main>
<h1>Promptmill</h1>
<p>Log in with an API key. It stays here: the browser keeps a signed session for twelve hours.</p>
{problem}
<form method="post" action="{root}/login">
<input type="hidden" name="next" value="{next}">
<input name="username" autocomplete="username" value="Promptmill" hidden>
<label for="key">API key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<button>Log in</button>
</form></main>
<script>
document.cookie = "{zone}=" + Intl.DateTimeFormat().resolvedOptions().timeZone
  + "; path={root}; max-age=31536000; samesite=lax";
</script></body></html>
""".replace("{root}", ROOT).replace("{zone}", ZONE)
