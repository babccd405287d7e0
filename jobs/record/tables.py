"""Tables of the jobs database: made where they are missing, and refused where they are another version's."""

from __future__ import annotations

import sqlalchemy as sa

from trainer.errors import RequestError

_ONE_AT_A_TIME = 0x636F6E63
"""Any number that no other program takes for its lock in the same database."""


def make_tables(engine: sa.Engine, tables: sa.MetaData) -> None:
    """Make what is missing; several machines may start at the same time.

    Raises RequestError where another version of this app made a table: every row of it would be a failure.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_ONE_AT_A_TIME)))
        tables.create_all(connection)
    for table in tables.sorted_tables:
        found = {column["name"] for column in sa.inspect(engine).get_columns(table.name)}
        if found != set(table.c.keys()):
            where = engine.url.database if engine.dialect.name == "sqlite" else "that STUDIO_DATABASE_URL names"
            raise RequestError(
                f"The database {where} was made by another version of this app. Move it away: the jobs are restored "
                "from their files at the next start."
            )
