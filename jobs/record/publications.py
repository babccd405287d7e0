"""Which jobs' results go to the Hub, and how far each has come: a table, and a file in each run folder."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from jobs.record.store import ended_jobs
from jobs.record.tables import make_tables
from trainer.run_folder import RunFolder
from trainer.whole_files import write_whole

_METADATA = sa.MetaData()
_PUBLICATIONS = sa.Table(
    "publications",
    _METADATA,
    sa.Column("job_id", sa.String(32), primary_key=True),
    sa.Column("repo_id", sa.String(96), nullable=False),
    sa.Column("private", sa.Boolean, nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("next_try", sa.Float, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("commit", sa.String(64), nullable=False),
)
PUBLICATION_FILE = "publication.json"


class PublicationState(StrEnum):
    """Where a publication is. A job without one has no row."""

    waiting = "waiting"
    running = "running"
    published = "published"
    needs_sign_in = "needs-sign-in"
    failed = "failed"


REVOCABLE = frozenset({PublicationState.waiting, PublicationState.needs_sign_in, PublicationState.failed})
"""In these nothing is being sent, and it can be taken back."""
NOT_IN_WORK = frozenset(PublicationState) - {PublicationState.running}
"""In these nobody works on it, and it can be wished otherwise."""
UNDER_WAY = frozenset({PublicationState.waiting, PublicationState.running})
"""In these it changes without anybody's doing."""


@dataclass(frozen=True)
class Publication:
    """One row. `next_try` is in seconds since the epoch; `note` says in words why it is where it is."""

    job_id: str
    repo_id: str
    private: bool
    state: PublicationState = PublicationState.waiting
    note: str = ""
    next_try: float = 0.0
    tries: int = 0
    url: str = ""
    commit: str = ""


class PublicationStore:
    """Reads and writes rows; what a person wished and what became of it is also in a file of the run folder.

    The file outlives a lost database. The publisher works beside the page, so but for what became of one that it has
    in work, each change asks for the state that it goes out of: two writers cannot both win.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        make_tables(engine, _METADATA)

    def find(self, job_id: str) -> Publication | None:
        found = self._read(_PUBLICATIONS.select().where(_PUBLICATIONS.c.job_id == job_id))
        return found[0] if found else None

    def find_all(self, job_ids: Iterable[str]) -> dict[str, Publication]:
        """The publications of these jobs, by job; one query however many they are."""
        found = self._read(_PUBLICATIONS.select().where(_PUBLICATIONS.c.job_id.in_(list(job_ids))))
        return {publication.job_id: publication for publication in found}

    def in_state(self, *states: PublicationState) -> list[Publication]:
        wanted = [state.value for state in states]
        return self._read(_PUBLICATIONS.select().where(_PUBLICATIONS.c.state.in_(wanted)))

    def due(self, moment: float) -> list[str]:
        """The jobs of those that wait for nothing more: it is over, and the next try is not later than this moment."""
        query = sa.select(_PUBLICATIONS.c.job_id).where(
            _PUBLICATIONS.c.state == PublicationState.waiting.value,
            _PUBLICATIONS.c.next_try <= moment,
            _PUBLICATIONS.c.job_id.in_(ended_jobs()),
        )
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def put(
        self, publication: Publication, run: RunFolder, *, in_place_of: Iterable[PublicationState] = PublicationState
    ) -> bool:
        """Write it as it is now; False where there is one whose state is none of `in_place_of`."""
        is_put = self._insert(publication, in_place_of)
        if is_put:
            self.write_file(publication, run)
        return is_put

    def _insert(self, publication: Publication, in_place_of: Iterable[PublicationState] = PublicationState) -> bool:
        gives_way = _PUBLICATIONS.delete().where(*_is_in(publication.job_id, in_place_of))
        try:
            with self._engine.begin() as connection:
                connection.execute(gives_way)
                connection.execute(_PUBLICATIONS.insert().values(**_row(publication)))
        except IntegrityError:
            return False
        return True

    def write_file(self, publication: Publication, run: RunFolder) -> None:
        """Write the file in the run folder."""
        write_whole(run.root / PUBLICATION_FILE, json.dumps(_row(publication), indent=2) + "\n")

    def change(
        self, job_id: str, state: PublicationState, *, out_of: Iterable[PublicationState], **values: Any
    ) -> Publication | None:
        """Move the row on if its state is one of `out_of`; what it says then, or None where it is in another."""
        statement = _PUBLICATIONS.update().where(*_is_in(job_id, out_of))
        with self._engine.begin() as connection:
            if connection.execute(statement.values(state=state.value, **values)).rowcount != 1:
                return None
            row = connection.execute(_PUBLICATIONS.select().where(_PUBLICATIONS.c.job_id == job_id)).mappings().one()
        return _publication(dict(row))

    def claim(self, job_id: str) -> Publication | None:
        """Take a waiting publication for this process, as it is wished for now; None where somebody was faster."""
        return self.change(job_id, PublicationState.running, out_of=[PublicationState.waiting])

    def withdraw(self, job_id: str, run: RunFolder) -> bool:
        """Forget one that nobody works on, its file as well; False where there is none, or no longer."""
        statement = _PUBLICATIONS.delete().where(*_is_in(job_id, REVOCABLE))
        with self._engine.begin() as connection:
            withdrawn = connection.execute(statement).rowcount == 1
        if withdrawn:
            (run.root / PUBLICATION_FILE).unlink(missing_ok=True)
        return withdrawn

    def delete(self, job_id: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(_PUBLICATIONS.delete().where(_PUBLICATIONS.c.job_id == job_id))

    def restore(self, run: RunFolder) -> None:
        """Add the row of a run folder that the table does not know; one in work then waits again.

        The file stays as it is: its age says when the result was published.
        """
        try:
            publication = _publication(json.loads((run.root / PUBLICATION_FILE).read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            return
        if publication.state is PublicationState.running:
            publication = replace(publication, state=PublicationState.waiting)
        self._insert(publication)

    def _read(self, query: sa.Select[Any]) -> list[Publication]:
        with self._engine.connect() as connection:
            rows = connection.execute(query).mappings().all()
        return [_publication(dict(row)) for row in rows]


def published_at(publication: Publication | None, run: RunFolder) -> float | None:
    """When the result came to the Hub, in seconds since the epoch; None if it is not there as it is now.

    A job that was resumed after it had been published has a newer result.
    """
    if publication is None or publication.state is not PublicationState.published:
        return None
    try:
        published = (run.root / PUBLICATION_FILE).stat().st_mtime
        return published if published >= run.manifest_file.stat().st_mtime else None
    except FileNotFoundError:
        return None


def _is_in(job_id: str, states: Iterable[PublicationState]) -> tuple[sa.ColumnElement[bool], ...]:
    """A job's publication, if it is in one of these states."""
    return _PUBLICATIONS.c.job_id == job_id, _PUBLICATIONS.c.state.in_([state.value for state in states])


def _row(publication: Publication) -> dict[str, Any]:
    return {**asdict(publication), "state": publication.state.value}


def _publication(values: dict[str, Any]) -> Publication:
    values["state"] = PublicationState(values["state"])
    return Publication(**values)
