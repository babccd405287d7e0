"""A Postgres that a supervisor loses in the middle of a question, while its job trains."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from jobs.record.state import OPEN_STATES, JobState
from jobs.record.store import open_engine
from jobs.service import JobService
from tests.jobs.fleet.machines import Submit, child_of, machine
from tests.jobs.watching import LONG, starts, state
from tests.waiting import wait_until
from trainer.settings import Settings

_END_OF_WHO_ASKS = sa.text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%FROM jobs%'"
)
_END_OF_ALL = sa.text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :database")


@pytest.mark.fault(54)
def test_connections_of_jobs_and_queue_are_taken_for_lost_in_half_a_minute(service: JobService) -> None:
    for engine in (service._store._engine, service.queue._queue._client._sys_db.engine):
        with engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            told = driver.info.get_parameters()
        assert (told["tcp_user_timeout"], told["keepalives_idle"], told["keepalives_interval"]) == ("20000", "10", "5")


@pytest.mark.fault(54)
def test_queue_whose_database_is_away_waits_for_nothing_and_loses_no_job(
    settings: Settings, service: JobService, submit: Submit, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, left = submit(), submit()
    with monkeypatch.context() as patience:
        patience.setattr("time.sleep", lambda _seconds: pytest.fail("it waits for the database"))
        with _database_away(settings, postgres):
            service.queue.add_missing(["supervisor-of-a-machine-that-is-gone"])
            service.queue.withdraw(left)
            service.queue.enqueue(replace(job, attempt=2))
            with pytest.raises(SQLAlchemyError):
                service.queue.give_back(job)
    service._store.begin_again(job, JobState.waiting, "")
    service.queue.withdraw(job)
    service.queue.add_missing()
    assert service.queue._queue._knows(f"{job.id}-2")


@contextmanager
def _database_away(settings: Settings, postgres: str) -> Generator[None]:
    """Nobody gets a connection, and those that there were are lost."""
    name = sa.make_url(settings.jobs_database_url).database
    server = sa.create_engine(
        postgres.format("postgres").replace("postgresql", "postgresql+psycopg", 1), isolation_level="AUTOCOMMIT"
    )
    with server.connect() as connection:
        connection.execute(sa.text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(_END_OF_ALL, {"database": name})
        yield
        connection.execute(sa.text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    server.dispose()


@pytest.mark.fault(54)
def test_machine_that_loses_the_database_in_the_middle_of_a_question_trains_on(
    settings: Settings, service: JobService, submit: Submit, tmp_path: Path
) -> None:
    job, engine = submit(**LONG), open_engine(settings.jobs_database_url)
    with machine(settings, tmp_path / "one"):
        wait_until(lambda: child_of(service, job), "it trains")
        with engine.connect() as connection:
            connection.execute(sa.text("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE"))
            wait_until(lambda: _lose_who_asks(engine), "the machine asks")
        service.stop_and_keep(job.id, "anna")
        wait_until(lambda: state(service, job) not in OPEN_STATES, "it stops")
        assert state(service, job) is JobState.stopped
        assert starts(service, job) == [0]
    engine.dispose()


def _lose_who_asks(engine: sa.Engine) -> bool:
    """End the connections in which a question about a job waits for its answer."""
    with engine.connect() as connection:
        return bool(connection.execute(_END_OF_WHO_ASKS).all())
