"""One page serves a database: the publisher of a second would begin anew what that of the first has in work."""

from __future__ import annotations

import time

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from jobs.record.store import open_engine
from trainer.errors import RequestError
from trainer.settings import Settings

_ONE_PAGE = 0x70616765
"""Any number that no other program takes for its lock in the same database."""
_TAKE = sa.text(
    "SELECT pg_try_advisory_lock(:one_page), set_config('tcp_keepalives_idle', '10', false), "
    "set_config('tcp_keepalives_interval', '5', false), set_config('tcp_keepalives_count', '4', false)"
).bindparams(one_page=_ONE_PAGE)
"""Taking the lock repeatedly in one session is harmless. With these keepalives Postgres notices within half a minute
that a page's machine is gone; by default it takes two hours, in which every new page would be refused."""
_LET_GO_S = 3.0
"""How long a page that begins waits for its forerunner: Postgres hears a moment later that a connection ended."""


class OnePage:
    """Has a Postgres database for the page of this process, by a lock that ends with its connection.

    A database in SQLite belongs to one data root, whose publisher has a lock of its own.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises RequestError where another page has the database."""
        self._connection = None if settings.on_sqlite else open_engine(settings.jobs_database_url).connect()
        patience_ends = time.monotonic() + _LET_GO_S
        while not (taken := self.hold()) and time.monotonic() < patience_ends:
            time.sleep(0.1)
        if not taken:
            self.close()
            raise RequestError(
                "Another page serves the database that STUDIO_DATABASE_URL names: stop that one, or give this one a "
                "database of its own."
            )

    def hold(self) -> bool:
        """Take the database, or see that it is taken still; False where another page was quicker.

        To be asked again and again: a connection that was lost took the lock with it. Raises SQLAlchemyError while the
        database is away.
        """
        if self._connection is None:
            return True
        try:
            taken = bool(self._connection.execute(_TAKE).scalar_one())
            self._connection.commit()
        except SQLAlchemyError:
            self._connection.rollback()  # the next time it connects anew
            raise
        return taken

    def close(self) -> None:
        """Let go of the database."""
        if self._connection is not None:
            self._connection.close()
            self._connection.engine.dispose()
