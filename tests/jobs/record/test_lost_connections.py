"""What Postgres is asked with: limits after which a connection is taken for lost."""

from __future__ import annotations

from unittest.mock import MagicMock

import pytest
import sqlalchemy as sa

from jobs.queueing.queue import Queue, QueueWorker
from jobs.record.lost_connections import noticing_loss

SECRET = "postgresql://me:a%40b%2Fc@one:5432/jobs"
LIMITS = "connect_timeout=10&keepalives_idle=10&keepalives_interval=5&tcp_user_timeout=20000"


def test_limits_change_nothing_else_of_the_url() -> None:
    assert noticing_loss("sqlite:////home/jobs.sqlite") == "sqlite:////home/jobs.sqlite"
    url = sa.make_url(noticing_loss(f"{SECRET}?sslmode=require&host=one&host=two&connect_timeout=3"))
    assert url.set(query={}) == sa.make_url(SECRET)
    assert (url.query["host"], url.query["sslmode"]) == (("one", "two"), "require")
    assert url.query["connect_timeout"] == "3"
    assert url.query["tcp_user_timeout"] == "20000"


@pytest.mark.fault(54)
def test_supervisor_gives_the_queue_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    dbos = MagicMock()
    monkeypatch.setattr("jobs.queueing.queue.DBOS", dbos)
    QueueWorker(SECRET, Queue.training, executor_id="cpu", at_once=1, run_job=lambda _job, _attempt: None)
    given = sa.make_url(dbos.call_args.kwargs["config"]["system_database_url"])
    assert dict(given.query) == dict(sa.make_url(f"{SECRET}?{LIMITS}").query)
