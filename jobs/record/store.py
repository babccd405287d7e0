"""The jobs table: what people see of their jobs. SQLite or Postgres, through SQLAlchemy Core."""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from jobs.record.lost_connections import noticing_loss
from jobs.record.state import OPEN_STATES, JobState, StopWish, may_follow
from jobs.record.tables import make_tables
from trainer.errors import RequestError

log = logging.getLogger(__name__)
_SQLITE = "sqlite:///"
_ABSENCE_POLL_S = 1.0
_METADATA = sa.MetaData()
_JOBS = sa.Table(
    "jobs",
    _METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("owner", sa.String(80), nullable=False, index=True),
    sa.Column("title", sa.String(120), nullable=False),
    sa.Column("name", sa.String(40), nullable=False),
    sa.Column("method", sa.String(32), nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("base", sa.String(400), nullable=False),
    sa.Column("steps", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("wish", sa.String(16), nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("queued", sa.Float, nullable=False),
    sa.Column("started", sa.Float),
    sa.Column("ended", sa.Float),
    sa.Column("message", sa.Text, nullable=False),
)


SINGLE_OWNER = "me"
"""Owner of everything where everybody at this machine is one; and of what its command line makes."""
EVERYBODY = "everybody"
"""Owner of what all visitors may look at: the embedded example of a shared page."""


def machines_owner(*, single: bool) -> str:
    """Whose is what the machine itself queues: its one owner's, or everybody's."""
    return SINGLE_OWNER if single else EVERYBODY


@dataclass(frozen=True)
class Job:
    """One row. Times are seconds since the epoch; `message` says in words why the job is where it is."""

    id: str
    owner: str
    title: str
    name: str
    method: str
    kind: str
    base: str
    steps: int
    state: JobState
    wish: StopWish
    priority: int
    attempt: int
    created: float
    queued: float
    started: float | None
    ended: float | None
    message: str

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_STATES


def new_job_id() -> str:
    """Unguessable: a job id in a URL is not an invitation."""
    return secrets.token_hex(8)


def is_job_id(text: object) -> bool:
    """Whether it is one that `new_job_id` can have made."""
    return isinstance(text, str) and re.fullmatch("[0-9a-f]{16}", text) is not None


def now() -> float:
    return datetime.now(UTC).timestamp()


def open_engine(url: str, *, wait_until: Callable[[], bool] | None = None) -> sa.Engine:
    """A connection pool; SQLite in write-ahead mode, so that the page reads while the supervisor writes.

    With `wait_until`, a database that goes away later is waited for until that is true, for those who may not lose
    what they are doing. Raises RequestError where there is no database that can be used. The URL may hold a password,
    and is not quoted.
    """
    try:
        engine = _open_engine(url)
    except OperationalError as error:
        if not url.startswith(_SQLITE):
            raise RequestError("The database does not answer: start it, or correct STUDIO_DATABASE_URL.") from None
        raise _unusable(url) from error
    except (SQLAlchemyError, OSError, ValueError) as error:
        raise _unusable(url) from (error if url.startswith(_SQLITE) else None)
    if wait_until is not None:
        _wait_out_absence(engine, wait_until)
    return engine


def _wait_out_absence(engine: sa.Engine, given_up: Callable[[], bool]) -> None:
    """The pool tests each connection before it hands it out; so whoever asks for one waits here."""

    def connect(dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
        while True:
            try:
                return dialect.connect(*arguments, **options)
            except dialect.loaded_dbapi.OperationalError as error:
                if given_up():
                    raise
                log.warning("the database does not answer and is waited for: %s", type(error).__name__)
                time.sleep(_ABSENCE_POLL_S)

    listen: Any = event.listen  # its annotations are open
    listen(engine, "do_connect", connect)


def _unusable(url: str) -> RequestError:
    if url.startswith(_SQLITE):
        return RequestError(
            f"The database {url.removeprefix(_SQLITE)} cannot be opened. If it is damaged, move it away: the jobs are "
            "restored from their files at the next start."
        )
    return RequestError("STUDIO_DATABASE_URL names no database that can be opened.")


def _open_engine(url: str) -> sa.Engine:
    url = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)  # the driver that DBOS brings
    if url.startswith(_SQLITE):
        Path(url.removeprefix(_SQLITE)).parent.mkdir(parents=True, exist_ok=True)
    options = {"timeout": 30} if url.startswith("sqlite") else {}
    engine = sa.create_engine(noticing_loss(url), connect_args=options, pool_pre_ping=True)
    with engine.connect() as connection:
        if url.startswith("sqlite"):
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    return engine


def ended_jobs() -> sa.Select[Any]:
    """The ids of jobs that are over, for a question about another table."""
    return sa.select(_JOBS.c.id).where(_JOBS.c.state.not_in([state.value for state in OPEN_STATES]))


class JobStore:
    """Reads and writes rows. Every change of state is one conditional update, so that two writers cannot both win."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        make_tables(engine, _METADATA)

    def close(self) -> None:
        self._engine.dispose()

    def add(self, *jobs: Job) -> None:
        """Add rows, all or none."""
        with self._engine.begin() as connection:
            connection.execute(_JOBS.insert(), [_row(job) for job in jobs])

    def find(self, job_id: str) -> Job | None:
        with self._engine.connect() as connection:
            row = connection.execute(_JOBS.select().where(_JOBS.c.id == job_id)).mappings().first()
        return _job(row) if row else None

    def get(self, job_id: str, *, owner: str | None = None) -> Job:
        """The job. Raises RequestError where there is none, or it is somebody else's: the two look the same."""
        job = self.find(job_id)
        if job is None or (owner is not None and job.owner != owner):
            raise RequestError("There is no such job.")
        return job

    def visible(self, job_id: str, owner: str) -> Job:
        """The job if this owner may look at it: their own, or everybody's. Raises RequestError."""
        job = self.get(job_id)
        if job.owner not in (owner, EVERYBODY):
            raise RequestError("There is no such job.")
        return job

    def visible_to(self, owner: str) -> list[Job]:
        """What this owner may look at, newest first."""
        query = _JOBS.select().where(_JOBS.c.owner.in_([owner, EVERYBODY]))
        return self._read(query.order_by(_JOBS.c.created.desc()))

    def all_jobs(self) -> list[Job]:
        return self._read(_JOBS.select().order_by(_JOBS.c.created.desc()))

    def in_state(self, *states: JobState) -> list[Job]:
        """Jobs in these states, in the order in which the queue serves them."""
        query = _JOBS.select().where(_JOBS.c.state.in_([s.value for s in states]))
        return self._read(query.order_by(_JOBS.c.priority, _JOBS.c.queued))

    def change_state(
        self,
        job_id: str,
        following: JobState,
        *,
        out_of: Iterable[JobState] = JobState,
        of_attempt: int | None = None,
        message: str = "",
        **values: Any,
    ) -> bool:
        """Move a job if its present state is one of `out_of` and allows it; False where it does not.

        `of_attempt`: and only while this is its attempt.
        """
        allowed = [state.value for state in out_of if may_follow(state, following)]
        statement = _JOBS.update().where(_JOBS.c.id == job_id, _JOBS.c.state.in_(allowed))
        if of_attempt is not None:
            statement = statement.where(_JOBS.c.attempt == of_attempt)
        with self._engine.begin() as connection:
            result = connection.execute(statement.values(state=following.value, message=message, **values))
        return result.rowcount == 1

    def begin_again(self, job: Job, state: JobState, message: str) -> bool:
        """Make an open job its next attempt, in this open state; False where it is not as it was."""
        statement = _JOBS.update().where(
            _JOBS.c.id == job.id, _JOBS.c.state == job.state.value, _JOBS.c.attempt == job.attempt
        )
        values = {"state": state.value, "attempt": job.attempt + 1, "message": message}
        with self._engine.begin() as connection:
            result = connection.execute(statement.values(values))
        return result.rowcount == 1

    def set_wish(self, job_id: str, wish: StopWish) -> bool:
        """Ask a running job to stop; False where it does not run. A cancel outranks a stop-and-keep, not vice versa."""
        statement = _JOBS.update().where(
            _JOBS.c.id == job_id,
            _JOBS.c.state.in_([JobState.running.value, JobState.stopping.value]),
            _JOBS.c.wish != StopWish.cancel.value,
        )
        with self._engine.begin() as connection:
            result = connection.execute(statement.values(wish=wish.value, state=JobState.stopping.value))
        return result.rowcount == 1

    def note(self, job_id: str, message: str) -> None:
        """Say something new about an open job."""
        open_states = [state.value for state in OPEN_STATES]
        statement = _JOBS.update().where(_JOBS.c.id == job_id, _JOBS.c.state.in_(open_states))
        with self._engine.begin() as connection:
            connection.execute(statement.values(message=message))

    def change_owner(self, job_id: str, owner: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(_JOBS.update().where(_JOBS.c.id == job_id).values(owner=owner))

    def delete(self, job_id: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(_JOBS.delete().where(_JOBS.c.id == job_id))

    def _read(self, query: sa.Select[Any]) -> list[Job]:
        with self._engine.connect() as connection:
            return [_job(row) for row in connection.execute(query).mappings()]


def _row(job: Job) -> dict[str, Any]:
    return {**job.__dict__, "state": job.state.value, "wish": job.wish.value}


def _job(row: Any) -> Job:
    values: dict[str, Any] = {**row, "state": JobState(row["state"]), "wish": StopWish(row["wish"])}
    return Job(**values)
