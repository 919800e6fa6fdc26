"""A bell for the stager: whoever lets a large batch run rings, so that it need not wait until the
stager looks by itself. Nobody relies on it: a ring that is lost costs at most that second.
"""

import threading
from collections.abc import Callable
from typing import Final

import structlog
from redis import Redis
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

_CHANNEL: Final = "{promptmill}:bell"
_LISTEN_S: Final = 4.0
"""Between two looks at whether to go on; below the client's own time limit for an answer."""
_DEAF_PAUSE_S: Final = 1.0


def ring(redis: Redis) -> None:
    """Have whoever listens look now. Never fails."""
    try:
        redis.publish(_CHANNEL, b"")
    except (RedisError, OSError) as error:
        log.info("nobody hears the bell", reason=type(error).__name__)


def listen(redis: Redis, heard: Callable[[], None], stopped: threading.Event) -> None:
    """Call `heard` at each ring, and once whenever rings may have been missed, until stopped."""
    while not stopped.is_set():
        try:
            with redis.pubsub() as channel:  # type: ignore[no-untyped-call]
                channel.subscribe(_CHANNEL)
                while not stopped.is_set():
                    if channel.get_message(timeout=_LISTEN_S) is not None:
                        heard()
        except (RedisError, OSError):
            stopped.wait(_DEAF_PAUSE_S)
