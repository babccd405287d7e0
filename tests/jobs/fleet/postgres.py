"""A Postgres server of the tests' own, in a folder of its own; it listens on a local socket alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from tests.waiting import wait_until

_ELSEWHERE = "/usr/lib/postgresql"
"""Where Debian keeps it, out of the way."""


def find_postgres() -> Path | None:
    """The folder of its programs, if it is installed."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else [file.parent for file in Path(_ELSEWHERE).glob("*/bin/initdb")]
    return max(folders, default=None)


@contextmanager
def postgres_server(programs: Path) -> Generator[str]:
    """Runs it; gives the URL of its databases, but for their names, with one `{}`."""
    root = os.geteuid() == 0
    user = "nobody" if root else None  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        if root:
            shutil.chown(folder, "nobody")
        data = folder / "data"
        options = ["-D", data, "-U", "studio", "-A", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run([programs / "initdb", *options], user=user, cwd="/", check=True, capture_output=True)
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"],
                user=user,
                cwd="/",
                stdout=log,
                stderr=log,
            )
        try:
            url = f"postgresql://studio@/{{}}?host={folder}"
            wait_until(lambda: _answers(url.format("postgres")), "Postgres answers")
            yield url
        finally:
            server.terminate()  # it ends when its last client has gone
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _answers(url: str) -> bool:
    engine = sa.create_engine(url.replace("postgresql", "postgresql+psycopg", 1))
    try:
        engine.connect().close()
    except sa.exc.OperationalError:
        return False
    finally:
        engine.dispose()
    return True


def make_database(url: str, name: str) -> str:
    """A new, empty database; its URL."""
    engine = sa.create_engine(
        url.format("postgres").replace("postgresql", "postgresql+psycopg", 1), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return url.format(name)
