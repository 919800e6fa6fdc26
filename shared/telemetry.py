"""Structured logs: JSON lines on standard error, coloured lines on a terminal.

Every record carries the ids bound around it (request_id, batch, job). Keys never get into a log,
prompts only where they were asked for; both are removed here, at the last step, so a careless
call elsewhere leaks nothing.
"""

import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_REDACTED = "[redacted]"
_PROMPT_FIELDS = frozenset(
    {"prompt", "messages", "text", "content", "completion", "answer", "body", "input"}
)
_SECRET_FIELD = re.compile(
    r"(^|_)(api_?keys?|admin_key|secret|password|passwd|authorization|credentials?"
    r"|bearer|token|key)$",
    re.IGNORECASE,
)
_HARMLESS_KEYS = frozenset({"idempotency_key", "claim_token"})
_SECRET_TEXT = re.compile(
    r"""
    (?P<bearer>\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]{8,}
    | \b(?:sk|pk|rk|pm|gsk|xai|hf|whsec|r8|AIza|key)[-_][A-Za-z0-9_+/=-]{12,}
    | \bAIza[A-Za-z0-9_-]{20,}
    | \beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9._-]{10,}
    | (?P<url>[a-z][a-z0-9+.-]*://[^/\s:@]*:)[^@\s/]+(?=@)
    """,
    re.VERBOSE,
)
# pydantic repeats the refused input, which may be a prompt, in its message.
_REFUSED_INPUT = re.compile(r"input_value=.*?(?=, input_type=)", re.DOTALL)
_NOISY = ("httpx", "httpcore", "aiohttp.access", "kombu", "amqp", "asyncio", "tornado.access")


def configure_logging(*, level: str, as_json: bool, log_prompts: bool = False) -> None:
    """Send structlog's and the standard library's records the same way; call once a process.

    `level` is a standard level's name, in any case. On a terminal the lines are for people,
    whatever `as_json` says.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    for_people = not as_json or sys.stderr.isatty()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                Redactor(log_prompts=log_prompts),
                _renderer(for_people=for_people),
            ],
        )
    )
    _take_over(handler, level.upper())


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger; `log.info("chunk_done", batch=..., jobs=...)`: a name, then facts as fields."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


@contextmanager
def bound(**ids: str) -> Iterator[None]:
    """Add ids (request_id, batch, job) to every record made inside, also in awaited calls."""
    with structlog.contextvars.bound_contextvars(**ids):
        yield


class Redactor:
    """A processor that takes keys out of everything, and prompts out unless they are wanted."""

    def __init__(self, *, log_prompts: bool) -> None:
        self._log_prompts = log_prompts

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """The record as it may be written."""
        return self._mapping(event)

    def _mapping(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, value in fields.items():
            if not self._log_prompts and name in _PROMPT_FIELDS:
                continue
            if name not in _HARMLESS_KEYS and _SECRET_FIELD.search(str(name)):
                kept[name] = _REDACTED
            else:
                kept[name] = self._value(value)
        return kept

    def _value(self, value: object) -> object:
        match value:
            case bool() | int() | float() | None:
                return value
            case Mapping():
                return self._mapping(value)
            case list() | tuple() | set() | frozenset():
                return [self._value(item) for item in value]
            case _:
                return self._text(str(value))

    def _text(self, text: str) -> str:
        if not self._log_prompts:
            text = _REFUSED_INPUT.sub("input_value=[dropped]", text)
        return _SECRET_TEXT.sub(_without_secret, text)


def _without_secret(match: re.Match[str]) -> str:
    return (match["bearer"] or match["url"] or "") + _REDACTED


def _renderer(*, for_people: bool) -> Processor:
    if for_people:
        return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    return structlog.processors.JSONRenderer(default=str, ensure_ascii=False)


def _take_over(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        if name.partition(".")[0] in {"uvicorn", "celery", "sqlalchemy", "alembic", "flower"}:
            logger.handlers.clear()
            logger.propagate = True
    for name in _NOISY:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(capture=True)
