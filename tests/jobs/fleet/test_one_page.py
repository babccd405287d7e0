"""A second page on one database is refused, however the first one's connection fares."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from jobs.one_page import _ONE_PAGE, OnePage
from jobs.record.store import open_engine
from tests import ROOT
from tests.waiting import PATIENCE_S, wait_until
from trainer.errors import RequestError
from trainer.settings import Settings

REFUSED = (
    "Another page serves the database that STUDIO_DATABASE_URL names: stop that one, or give this one a database of "
    "its own."
)


@pytest.fixture
def page(settings: Settings) -> Iterator[OnePage]:
    page = OnePage(settings)
    yield page
    page.close()


def test_second_page_of_a_database_says_so_and_does_not_start(
    page: OnePage, settings: Settings, tmp_path: Path
) -> None:
    assert page.hold()
    told = {"STUDIO_SHARED": str(settings.shared), "STUDIO_DATABASE_URL": str(settings.database_url)}
    result = subprocess.run(
        [sys.executable, "app.py"],
        cwd=ROOT,
        env={**os.environ, **told, "STUDIO_HOME": str(tmp_path / "second"), "STUDIO_TRAIN_HERE": "0"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert result.returncode == 2
    assert result.stderr.strip().splitlines()[-1] == REFUSED


def test_page_that_ended_leaves_its_database_to_the_next(page: OnePage, settings: Settings) -> None:
    with pytest.raises(RequestError, match="Another page"):
        OnePage(settings)
    page.close()
    OnePage(settings).close()


@pytest.fixture
def engine(settings: Settings) -> Iterator[sa.Engine]:
    engine = open_engine(settings.jobs_database_url)
    yield engine
    engine.dispose()


@pytest.mark.fault(54)
def test_page_that_lost_its_connection_takes_the_database_again(page: OnePage, engine: sa.Engine) -> None:
    lose_connection(page, engine)
    wait_until(page.hold, "the lost connection's lock is gone")


def test_page_that_lost_its_connection_to_a_quicker_page_waits_for_that_one(
    page: OnePage, engine: sa.Engine, settings: Settings
) -> None:
    lose_connection(page, engine)
    other = OnePage(settings)
    assert not page.hold()
    other.close()
    wait_until(page.hold, "the other page's lock is gone")


def lose_connection(page: OnePage, engine: sa.Engine) -> None:
    """As when Postgres restarts; the lock goes a moment after the connection."""
    lose = f"SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = {_ONE_PAGE}"
    with engine.connect() as connection:
        assert connection.execute(sa.text(lose)).all() == [(True,)]
    with pytest.raises(sa.exc.OperationalError):
        page.hold()


def test_pages_on_sqlite_are_told_apart_by_their_data_roots(tmp_path: Path) -> None:
    alone = Settings(home=tmp_path / "home")
    assert OnePage(alone).hold()
    assert OnePage(alone).hold()
    assert not alone.home.exists()
