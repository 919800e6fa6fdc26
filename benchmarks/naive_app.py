"""As it is mostly written: a Celery task a prompt, prefork, synchronous httpx, a row by the ORM.

`python -m benchmarks.naive_app CALLS` writes the rows and queues the tasks; addresses come from
the environment (BENCH_BROKER, BENCH_DATABASE, BENCH_URL). No budget, no routing, no retries.
"""

import os
import sys
from functools import cache

import httpx
from celery import Celery
from sqlalchemy import Text, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.load import body

app = Celery("naive", broker=os.environ.get("BENCH_BROKER", "memory://"))
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1, task_ignore_result=True)


class Base(DeclarativeBase):
    """The mapping's root."""


class PromptRow(Base):
    """A prompt and its answer."""

    __tablename__ = "prompts"
    id: Mapped[int] = mapped_column(primary_key=True)
    prompt: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text, default="queued")
    answer: Mapped[str | None] = mapped_column(Text)


@cache
def _session() -> Session:
    return Session(create_engine(os.environ["BENCH_DATABASE"]))


@cache
def _client() -> httpx.Client:
    return httpx.Client(timeout=60)


@app.task(name="answer")  # type: ignore[untyped-decorator]
def answer(row_id: int) -> None:
    """Answer one prompt."""
    with _session() as session:
        row = session.get_one(PromptRow, row_id)
        url = os.environ["BENCH_URL"]
        response = _client().post(f"{url}/chat/completions", json=body(row_id))
        response.raise_for_status()
        row.answer = response.json()["choices"][0]["message"]["content"]
        row.status = "done"
        session.commit()


def submit(calls: int) -> None:
    """Write the rows and queue a task for each."""
    with _session() as session:
        Base.metadata.create_all(session.get_bind())
        rows = [PromptRow(prompt=str(body(i)["messages"])) for i in range(calls)]
        session.add_all(rows)
        session.commit()
        ids = [row.id for row in rows]
    for row_id in ids:
        answer.delay(row_id)


if __name__ == "__main__":
    submit(int(sys.argv[1]))
