"""The database and the ledger that the repairers of these tests work on."""

from collections.abc import Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.budget.ledger import Ledger
from shared.db.engine import Database
from tests.integration.repair.mill import Mill
from worker.work_marks import LeftMarks

_ONCE = Retry(NoBackoff(), 0)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def ledger(redis_client: "redis.Redis") -> Ledger:
    return Ledger(redis_client)


@pytest.fixture
def dead_ledger() -> Iterator[Ledger]:
    """A ledger whose server does not answer."""
    with redis.Redis(unix_socket_path="/nowhere/redis.sock", retry=_ONCE) as client:
        yield Ledger(client)


@pytest.fixture
def marks(redis_client: "redis.Redis") -> LeftMarks:
    return LeftMarks(redis_client)


@pytest.fixture
def dead_marks() -> Iterator[LeftMarks]:
    """Of a server that does not answer."""
    with redis.Redis(unix_socket_path="/nowhere/redis.sock", retry=_ONCE) as client:
        yield LeftMarks(client)


@pytest.fixture
def mill(database: Database, ledger: Ledger) -> Mill:
    return Mill(database, ledger)
