"""The machines that serve one queue: which devices they have, which of them are there now, and that they share files.

Supervisors write down that they are there by the database's clock; whether one is gone for good is judged by how long
nothing new was seen of it. So no machine's clock is compared with another's.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from jobs.queueing.executors import live_executors, own_executors
from jobs.record.store import new_job_id, open_engine
from jobs.record.tables import make_tables
from trainer.errors import RequestError
from trainer.machine.devices import Device
from trainer.machine.locks import one_at_a_time
from trainer.settings import Settings
from trainer.whole_files import write_whole

log = logging.getLogger(__name__)
GONE_AFTER_S = 120.0
"""A supervisor of which nothing was seen for so long does not come back, as far as its jobs are concerned."""
_LOOKED_ON = 0.75
"""The longest time without a look, as a part of that; in the rest everybody gives a sign."""
_MARKER = "shared-folder-id"
_METADATA = sa.MetaData()
_SUPERVISORS = sa.Table(
    "supervisors",
    _METADATA,
    sa.Column("executor", sa.String(80), primary_key=True),
    sa.Column("queue", sa.String(16), nullable=False),
    sa.Column("device", sa.String(200), nullable=False),
    sa.Column("is_gpu", sa.Boolean, nullable=False),
    sa.Column("host", sa.String(200), nullable=False),
    sa.Column("seen", sa.DateTime(timezone=True), nullable=False),
)
_SHARED_FOLDER = sa.Table(
    "shared_folder",
    _METADATA,
    sa.Column("row", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("id", sa.String(32), nullable=False),
)


@dataclass(frozen=True)
class ServedDevice:
    """A device that a supervisor somewhere serves."""

    executor: str
    queue: str
    device: str
    is_gpu: bool
    host: str


class SupervisorStore:
    """The tables that machines of one database share: which supervisors there are, and the folder they work in."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        make_tables(engine, _METADATA)

    def beat(self, served: ServedDevice) -> None:
        """Write down that its supervisor is there."""
        values = {**asdict(served), "seen": sa.func.current_timestamp()}
        with self._engine.begin() as connection:
            statement = _SUPERVISORS.update().where(_SUPERVISORS.c.executor == served.executor)
            if connection.execute(statement.values(values)).rowcount == 0:
                connection.execute(_SUPERVISORS.insert().values(values))

    def seen(self) -> dict[str, str]:
        """When each supervisor was seen last, as the database says it; to be compared with nothing but itself."""
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(_SUPERVISORS.c.executor, _SUPERVISORS.c.seen)).all()
        return {row.executor: str(row.seen) for row in rows}

    def alive(self) -> list[ServedDevice]:
        """Those that were seen a short while ago."""
        query = sa.select(_SUPERVISORS, sa.func.current_timestamp().label("now")).order_by(_SUPERVISORS.c.executor)
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [
            ServedDevice(row.executor, row.queue, row.device, row.is_gpu, row.host)
            for row in rows
            if row.now - row.seen < timedelta(seconds=GONE_AFTER_S)
        ]

    def forget(self, executors: Collection[str]) -> None:
        """Remove supervisors whose jobs others have taken over; one that comes back writes itself down again."""
        with self._engine.begin() as connection:
            connection.execute(_SUPERVISORS.delete().where(_SUPERVISORS.c.executor.in_(executors)))

    def check_shared_folder(self, settings: Settings) -> None:
        """Raise RequestError where this machine has another folder than those it shares a database with.

        The folder's id lies in it and stands in the database, as soon as one of them was told of a shared folder. A
        machine that was not, and shares its database with none that was, is not asked.
        """
        with self._engine.connect() as connection:
            known = connection.execute(sa.select(_SHARED_FOLDER.c.id)).scalar()
        if known is None and settings.shared is None:
            return
        marker = settings.shared_dir / _MARKER
        if known is None:
            known = _remember(self._engine, _made(marker))
        if not marker.is_file() or marker.read_text(encoding="utf-8") != known:
            raise RequestError(
                f"The folder {settings.shared_dir} is not the one that the other machines of this database work in: "
                "set STUDIO_SHARED to that folder."
            )


class RollCall:
    """Watches the table for supervisors that are gone for good. To be asked again and again."""

    def __init__(self, store: SupervisorStore, runtime: Path) -> None:
        self._store, self._runtime = store, runtime
        self._looked = time.monotonic()
        self._since: dict[tuple[str, str], float] = {}

    def gone(self) -> list[str]:
        """The executors of which nothing new was seen for too long, while this process looked.

        After a time in which it could not look, because the database was away or this machine slept, the others get as
        long again: they may have slept or waited, too, and need a moment to be heard of. One of this machine whose
        process lives is never gone.
        """
        seen, at = self._store.seen(), time.monotonic()
        before = self._since if at - self._looked < GONE_AFTER_S * _LOOKED_ON else {}
        self._looked, self._since = at, {entry: before.get(entry, at) for entry in seen.items()}
        silent = [executor for (executor, _), since in self._since.items() if at - since >= GONE_AFTER_S]
        here = live_executors(self._runtime) if silent else set[str]()
        return [executor for executor in silent if executor not in here]


class Fleet:
    """The devices that take jobs now: those whose supervisors the page keeps alive itself, and others' that are there.

    `own` may be none: for a page that is only a front end, or a command.
    """

    def __init__(self, store: SupervisorStore, settings: Settings, own: Sequence[Device] = ()) -> None:
        self._store, self._settings, self._runtime = store, settings, settings.runtime_dir
        self.own = tuple(own)
        self.is_alone = bool(own) and settings.shared is None
        """Whether no other machine belongs to it."""

    def devices(self) -> list[tuple[str, bool]]:
        """The name of each, and whether it is a GPU."""
        own = [(device.name, device.index is not None) for device in self.own]
        if self.is_alone:
            return own
        here = own_executors(self._runtime) if self.own else set[str]()
        others = [served for served in self._store.alive() if served.executor not in here]
        return own + [(served.device, served.is_gpu) for served in others]

    def size(self) -> int:
        """How many jobs train at the same time."""
        return len(self.devices())

    def check_folder(self) -> None:
        """Raise RequestError where the folder of the runs is away, as while its network file system is not mounted.

        What lies in its place is this machine's alone, and hidden as soon as the folder is back.
        """
        try:
            self._store.check_shared_folder(self._settings)
        except (OSError, RequestError) as error:
            log.warning("%s", error)  # the sentence below is for visitors, who need not know where it is
            raise RequestError("The folder with the runs is away, so nothing was done. Try again in a while.") from None

    def roll_call(self) -> RollCall:
        return RollCall(self._store, self._runtime)


def open_database(
    settings: Settings, *, wait_until: Callable[[], bool] | None = None
) -> tuple[sa.Engine, SupervisorStore]:
    """The settings' database, for who works with its runs, and what its machines share.

    `wait_until` is as for `open_engine`. Raises RequestError as `check_shared_folder` does.
    """
    engine = open_engine(settings.jobs_database_url, wait_until=wait_until)
    try:
        supervisors = SupervisorStore(engine)
        supervisors.check_shared_folder(settings)
    except BaseException:  # whoever asks again and again would keep a connection each time
        engine.dispose()
        raise
    return engine, supervisors


def _made(marker: Path) -> str:
    """The id of a folder, given now if it has none."""
    with one_at_a_time(marker):
        if not marker.exists():
            write_whole(marker, new_job_id())
    return marker.read_text(encoding="utf-8")


def _remember(engine: sa.Engine, folder: str) -> str:
    """The id in the database: this, or the one of a machine that was quicker."""
    with contextlib.suppress(IntegrityError), engine.begin() as connection:
        connection.execute(_SHARED_FOLDER.insert().values(row=1, id=folder))
    with engine.connect() as connection:
        return connection.execute(sa.select(_SHARED_FOLDER.c.id)).scalar_one()
