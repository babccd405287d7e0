"""A fleet: a Postgres database and a shared folder, with a data root for each machine."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from jobs.open import open_service
from tests.jobs.fleet.postgres import make_database, postgres_server
from trainer.settings import Settings

_NUMBERS = count()


@pytest.fixture(scope="package")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="package")
def set_up(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database that is set up and empty."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), database_url=make_database(postgres, "set_up"))
    open_service(settings).close()
    return "set_up"


@pytest.fixture
def settings(postgres: str, set_up: str, tmp_path: Path) -> Settings:
    """Those of the machine that serves the page and does not train."""
    return Settings(
        home=tmp_path / "page",
        shared=tmp_path / "shared",
        database_url=make_database(postgres, f"jobs_{next(_NUMBERS)}", like=set_up),
        train_here=False,
    )
