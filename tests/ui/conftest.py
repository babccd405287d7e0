"""The page's services over a fresh data root, where each browser is an owner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app import build_services
from jobs.store import Job
from tests.engine.conftest import small_recipe
from trainer.devices import cpu
from trainer.photos import take_folder
from trainer.settings import Owners, Settings
from ui.services import Services


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    services = build_services(Settings(home=tmp_path / "home", owners=Owners.browser), [cpu()])
    yield services
    services.jobs.close()


def trained_job(services: Services, owner: str, tiny_model: Path, photo_folder: Path) -> Job:
    """A job with previews, thumbnails and an artifact, as a finished one has."""
    recipe = small_recipe(tiny_model, "textual-inversion")
    job = services.jobs.submit(owner, recipe, lambda folder: take_folder(photo_folder, folder))
    root = services.jobs.run_folder(job.id).root
    for name in ("previews/step-000000-0.png", "artifact/learned.safetensors", "photos/thumbs/0001.jpg", "log.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"content of " + name.encode())
    return job
