"""A job service over a fresh data root, and real supervisors as processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, constants
from safetensors.torch import save_file

from jobs.open import open_service
from jobs.record.bill import Bill
from jobs.record.store import Job
from jobs.service import JobService
from jobs.submission.bringing_in import Importer
from jobs.submission.preflight import BaseChecker
from tests.engine.conftest import small_recipe
from tests.hub.accounts import ALICE
from tests.hub.local_hub import LocalHub
from tests.jobs.empty_database import prepare_database
from tests.jobs.gpu_driver import driver  # noqa: F401 - a fixture
from tests.jobs.imports import ROWS
from tests.prepared_photos import take_prepared
from trainer.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


@pytest.fixture
def service(settings: Settings) -> Iterator[JobService]:
    prepare_database(settings)
    service = open_service(settings)
    yield service
    service.close()


@pytest.fixture
def submit(service: JobService, tiny_model: Path, photo_folder: Path) -> Callable[..., Job]:
    """Queues a small job on the tiny model."""

    def call(
        owner: str = "anna",
        method: str = "textual-inversion",
        press_id: str | None = None,
        bill: Bill | None = None,
        **changes: Any,
    ) -> Job:
        recipe = small_recipe(tiny_model, method, **changes)
        photos = partial(take_prepared, photo_folder)
        return service.submitting.submit(owner, recipe, photos, press_id=press_id, bill=bill)

    return call


@pytest.fixture
def importer(hub: LocalHub) -> Importer:
    return Importer(BaseChecker(ALICE), ALICE)


@pytest.fixture
def alice(client: Callable[[str | None], HfApi], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return client(ALICE)


@pytest.fixture
def embedding(tmp_path: Path) -> Path:
    save_file({"emb_params": ROWS}, tmp_path / "my style.safetensors")
    return tmp_path / "my style.safetensors"
