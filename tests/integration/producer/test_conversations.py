"""Conversations at their beginning, where the queue does not take them."""

from pathlib import Path

import pytest

from producer.accounts.key_limits import KeyLimits
from producer.arrival import Arrival
from producer.asked import read_chat
from producer.bootstrap import ProducerContext
from producer.chat import Conversations
from producer.options import Allowance
from shared.db.repositories import batches
from shared.errors import UnavailableError
from shared.queue.celery_app import make_celery_app
from shared.queue.publisher import Publisher
from shared.settings import Settings


def test_a_conversation_that_no_queue_takes_is_refused_and_called_off(
    context: ProducerContext, tmp_path: Path
):
    app = make_celery_app(Settings(_env_file=None, redis_url=f"unix://{tmp_path}/nobody"))
    limits = KeyLimits(
        context.database,
        context.ledger,
        context.redis,
        default_max_tokens=100,
        clock=context.clock,
    )
    chats = Conversations(
        context.database,
        Publisher(app),
        context.steering,
        limits,
        patience_s=600,
        clock=context.clock,
    )
    asked = read_chat(b'{"messages": [{"role": "user", "content": "a"}]}', context.catalog)
    wanted = chats.new_id()
    with pytest.raises(UnavailableError, match="broker"):
        chats.begin(wanted, asked, "default", Arrival("a", "me", context.clock()), Allowance())
    app.close()
    with context.database.reading() as connection:
        begun = batches.get(connection, wanted)
    assert begun is not None
    assert begun.status == "cancelled"
