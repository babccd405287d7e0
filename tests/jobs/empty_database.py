"""A database that was set up once and is copied from then on, as setting one up takes longer than many a test."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from jobs.open import open_service
from trainer.settings import Settings

_FILE = "studio.sqlite"


def prepare_database(settings: Settings) -> None:
    """Put an empty database into a data root that has none; one on a server is left alone."""
    file = settings.home / _FILE
    if settings.database_url is None and not file.exists():
        settings.home.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_set_up())


@functools.cache
def _set_up() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        open_service(Settings(home=Path(folder))).close()  # which leaves all in this one file
        return (Path(folder) / _FILE).read_bytes()
