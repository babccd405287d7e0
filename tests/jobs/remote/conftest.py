"""A Hub whose Jobs run this very code, a tiny base model on it, and the process that follows Jobs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, JobInfo

from jobs.hub.tokens import TokenDesk, TokenVault
from jobs.record.remote_run import RemoteRun
from jobs.record.state import StopWish
from jobs.record.store import Job
from jobs.remote.trainer import RemoteTrainer
from jobs.service import JobService
from jobs.supervisor.training import Watch
from tests import ROOT
from tests.engine.conftest import SMALL
from tests.hub.accounts import ALICE
from tests.hub.local_hub import LocalHub
from tests.prepared_photos import take_prepared
from tests.waiting import PATIENCE_S, wait_until
from trainer.recipe.build import build_recipe
from trainer.settings import Settings

Client = Callable[[str | None], HfApi]
BASE = "alice/tiny"


@pytest.fixture(scope="session")
def hub_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalHub]:
    with LocalHub(tmp_path_factory.mktemp("hub"), jobs_run_in=ROOT) as hub:
        yield hub
        assert "Traceback" not in hub.log(), hub.log()


@pytest.fixture
def alice(client: Client, tiny_model: Path) -> HfApi:
    """Alice's client; the tiny model is on the Hub as hers."""
    alice = client(ALICE)
    alice.create_repo(BASE)
    alice.upload_folder(repo_id=BASE, folder_path=tiny_model)
    return alice


@pytest.fixture
def desk(settings: Settings) -> TokenDesk:
    return TokenDesk(settings.runtime_dir, None)


@pytest.fixture
def send(service: JobService, photo_folder: Path) -> Callable[..., Job]:
    """Queues anna's small job for a Job of alice's account."""

    def call(method: str = "textual-inversion", *, payer: str = "alice", limit_s: int = 600, **changes: Any) -> Job:
        recipe = build_recipe({**SMALL, "method": method, "base": BASE, **changes})
        remote = RemoteRun(
            flavor="t4-small", machine="Nvidia T4 small", usd_per_hour=0.4, limit_s=limit_s, namespace=payer
        )
        return service.submitting.submit("anna", recipe, partial(take_prepared, photo_folder), remote=remote)

    return call


def message(service: JobService, job: Job) -> str:
    return service.job(job.id, "anna").message


def hub_jobs(alice: HfApi) -> list[JobInfo]:
    """The Jobs of alice's account, newest first."""
    return list(alice.list_jobs(namespace="alice"))


def follow_until_it_is_asked_for(
    alice: HfApi, settings: Settings, service: JobService, job: Job, *, note: Callable[[str], None]
) -> None:
    """Follow a job in a thread of this process, where patience can be shortened, until its Job is there; then leave."""
    leaving = threading.Event()
    watch = Watch(lambda: StopWish.none, leaving.is_set, note)
    trainer = RemoteTrainer(settings, TokenVault(ALICE), "an/image")
    with ThreadPoolExecutor(1) as pool:
        training = pool.submit(trainer.train, job, service.run_folder(job.id), watch)
        try:
            wait_until(lambda: hub_jobs(alice))
        finally:
            leaving.set()
        assert training.result(PATIENCE_S) is None
