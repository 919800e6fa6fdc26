"""The ways by which alerts are told: a webhook, a Slack-compatible address, e-mail.

Their addresses are the operator's own settings, so private ones are allowed, unlike those of
projects' webhooks.
"""

import asyncio
import smtplib
import ssl
from dataclasses import asdict, dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

import orjson

from shared.errors import ConfigurationError
from shared.settings import Settings
from worker.webhooks import signing
from worker.webhooks.sender import Sender

_ANYWHERE: Final = ("0.0.0.0/0", "::/0")
_TIMEOUT_S: Final = 15.0
_PORTS: Final = {"smtp": 25, "smtps": 465}
_SIGNS: Final = {"critical": ":rotating_light:", "warning": ":warning:"}


@dataclass(frozen=True, slots=True)
class Notice:
    """A matter that began (`alert.raised`) or is over (`alert.resolved`)."""

    type: str
    key: str
    kind: str
    severity: str
    project: str | None
    message: str
    since: datetime
    at: datetime

    @property
    def title(self) -> str:
        """One line."""
        word = "resolved" if self.type == "alert.resolved" else self.severity
        return f"[{word}] {self.message}"


class Channel(Protocol):
    """One way; `name` stands for it in the database."""

    @property
    def name(self) -> str:
        """Short and lasting."""

    def tell(self, notice: Notice) -> str | None:
        """Tell it; the reason where that failed, without any secret. Blocks for 15 s at most."""


@dataclass(frozen=True, slots=True)
class WebhookChannel:
    """A JSON object by POST, signed as our webhooks are where there is a secret."""

    url: str = field(repr=False)
    secret: str = field(default="", repr=False)
    name: str = "webhook"

    def tell(self, notice: Notice) -> str | None:
        """See `Channel`."""
        payload = orjson.dumps({"object": "alert", **asdict(notice)}).decode()
        identity = f"{notice.key}:{notice.type}:{int(notice.since.timestamp())}"
        headers = {"webhook-id": identity}
        if self.secret:
            headers = signing.headers(identity, notice.at, payload, [self.secret])
        return _post(self.url, payload, headers)


@dataclass(frozen=True, slots=True)
class SlackChannel:
    """An incoming webhook of Slack, Mattermost, Rocket.Chat or Discord's `/slack`."""

    url: str = field(repr=False)
    name: str = "slack"

    def tell(self, notice: Notice) -> str | None:
        """See `Channel`."""
        is_over = notice.type == "alert.resolved"
        sign = ":white_check_mark:" if is_over else _SIGNS.get(notice.severity, "")
        # Its three special characters; a message must not ring everybody or hide a link.
        text = notice.title.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return _post(self.url, orjson.dumps({"text": f"{sign} {text}".strip()}).decode(), {})


@dataclass(frozen=True, slots=True)
class MailChannel:
    """E-mail through one server: `smtps://` with TLS from the start, `smtp://` with STARTTLS where
    the server offers it. A password is sent over TLS only.
    """

    url: str = field(repr=False)
    sender: str
    receivers: tuple[str, ...]
    name: str = "mail"

    def tell(self, notice: Notice) -> str | None:
        """See `Channel`."""
        try:
            self._send(self._message(notice))
        except (smtplib.SMTPException, OSError) as error:
            code = getattr(error, "smtp_code", None)
            return type(error).__name__ if code is None else f"{type(error).__name__} {code}"
        return None

    def _message(self, notice: Notice) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = " ".join(f"Promptmill {notice.title}".split())[:200]
        message["From"] = self.sender
        message["To"] = ", ".join(self.receivers)
        message["Date"] = format_datetime(notice.at)
        message["Message-ID"] = make_msgid(domain="promptmill.invalid")
        message["Auto-Submitted"] = "auto-generated"
        when = f"Since {notice.since:%Y-%m-%d %H:%M:%S} UTC"
        if notice.type == "alert.resolved":
            when += f", over by {notice.at:%Y-%m-%d %H:%M:%S} UTC"
        lines = (notice.message, "", f"{when}.", notice.key)
        message.set_content("\n".join(lines))
        return message

    def _send(self, message: EmailMessage) -> None:
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        context = ssl.create_default_context()
        with (
            smtplib.SMTP_SSL(host, port, timeout=_TIMEOUT_S, context=context)
            if parts.scheme == "smtps"
            else smtplib.SMTP(host, port, timeout=_TIMEOUT_S)
        ) as server:
            server.ehlo()
            is_safe = parts.scheme == "smtps"
            if not is_safe and server.has_extn("starttls"):
                server.starttls(context=context)
                server.ehlo()
                is_safe = True
            if parts.username:
                if not is_safe:
                    raise smtplib.SMTPNotSupportedError("no TLS: the password is not sent")
                server.login(unquote(parts.username), unquote(parts.password or ""))
            server.send_message(message)


def channels_of(settings: Settings) -> list[Channel]:
    """Those that are set. Raises ConfigurationError for settings that cannot work."""
    found: list[Channel] = []
    for name, url in (
        ("PROMPTMILL_ALERT_WEBHOOK_URL", settings.alert_webhook_url.get_secret_value()),
        ("PROMPTMILL_ALERT_SLACK_URL", settings.alert_slack_url.get_secret_value()),
    ):
        if url and urlsplit(url).scheme not in {"http", "https"}:
            raise ConfigurationError(f"{name} must begin with https:// or http://")
    if url := settings.alert_webhook_url.get_secret_value():
        found.append(WebhookChannel(url, settings.alert_webhook_secret.get_secret_value()))
    if url := settings.alert_slack_url.get_secret_value():
        found.append(SlackChannel(url))
    if settings.alert_mail_to:
        found.append(_mail_of(settings))
    return found


def _mail_of(settings: Settings) -> MailChannel:
    url = settings.smtp_url.get_secret_value()
    if urlsplit(url).scheme not in _PORTS or not urlsplit(url).hostname:
        raise ConfigurationError(
            "PROMPTMILL_SMTP_URL must be smtp://[user:password@]host[:port] or smtps://... "
            "where PROMPTMILL_ALERT_MAIL_TO is set"
        )
    sender = settings.alert_mail_from or settings.alert_mail_to[0]
    return MailChannel(url, sender, settings.alert_mail_to)


def _post(url: str, payload: str, headers: dict[str, str]) -> str | None:
    async def send(checked: str, extra: dict[str, str]) -> str | None:
        sender = Sender(_ANYWHERE, timeout_s=_TIMEOUT_S)
        try:
            outcome = await sender.send(checked, payload, extra)
        finally:
            await sender.aclose()
        if outcome.succeeded:
            return None
        # Not what went wrong in words: those may hold the address, which is a secret of Slack's.
        return f"HTTP {outcome.status_code}" if outcome.status_code else "no answer"

    return asyncio.run(send(url, headers))
