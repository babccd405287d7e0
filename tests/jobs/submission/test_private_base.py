"""A base that not everybody may read: fetched with the token of whoever asks, and drawn with by them alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants, snapshot_download

from app import build_services
from jobs.hub.tokens import TokenDesk, fetching_tokens, token_socket
from jobs.record.state import JobState
from jobs.service import JobService
from jobs.submission.preflight import BaseChecker
from tests.engine.conftest import small_recipe
from tests.hub.accounts import ALICE, BOB
from tests.hub.faults import FOREVER
from tests.hub.local_hub import LocalHub
from tests.jobs.processes import supervisor
from tests.ui.conftest import PICTURE
from tests.waiting import wait_until
from trainer.bases import BaseReference
from trainer.engine.base.files import base_folder
from trainer.errors import BaseModelError
from trainer.machine.devices import cpu
from trainer.photos.intake import take_folder
from trainer.recipe.choices import STARTER
from trainer.settings import Owners, Settings
from ui.services import Services
from ui.try_it.handlers import TryHandlers

BASE = BaseReference("alice/own-model")


@pytest.fixture
def published(
    client: Callable[[str | None], HfApi], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The tiny model in a private repository of alice's; returns its commit."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    alice = client(ALICE)
    alice.create_repo(BASE.name, private=True)
    return alice.upload_folder(repo_id=BASE.name, folder_path=tiny_model).oid


def test_answer_for_one_token_is_not_given_to_another(hub: LocalHub, published: str) -> None:
    checker = BaseChecker(None)
    assert checker.check(BASE, ALICE).commit == published
    for stranger in (None, BOB):
        with pytest.raises(BaseModelError, match="or it is private"):
            checker.check(BASE, stranger)
    assert checker.check(BASE, ALICE).commit == published


@pytest.mark.fault(36)
def test_copy_of_it_serves_its_owner_alone_while_the_hub_is_away(
    hub: LocalHub, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.submission.preflight._REMEMBER_S", 0.0)
    checker = BaseChecker(None, shared=True)
    assert checker.check(BASE, ALICE).commit == published
    snapshot_download(BASE.name, endpoint=hub.url, token=ALICE)
    hub.order_fault(".*", times=FOREVER, status=503)
    assert checker.check(BASE, ALICE).commit == published
    for stranger in (None, BOB):
        with pytest.raises(BaseModelError, match="may be private"):
            checker.check(BASE, stranger)


def test_training_fetches_it_with_its_owners_token(
    hub: LocalHub,
    published: str,
    service: JobService,
    settings: Settings,
    photo_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in {**hub.environment(tmp_path / "hf", token=BOB), "STUDIO_OWNERS": "browser"}.items():
        monkeypatch.setenv(name, value)
    recipe = small_recipe(Path(BASE.name), "textual-inversion", base_revision=published, steps=2)
    with supervisor(settings.home):
        wait_until(token_socket(settings.runtime_dir, fetching_tokens("cpu")).exists)
        TokenDesk(settings.runtime_dir, None, ["cpu"]).hand_over_for_fetching("anna", ALICE)
        job = service.submitting.submit("anna", recipe, partial(take_folder, photo_folder))
        wait_until(lambda: not service.job(job.id, "anna").is_open)
    assert service.job(job.id, "anna").state is JobState.finished


def test_nobody_else_trains_with_it_although_it_was_fetched_before(published: str, tmp_path: Path) -> None:
    assert base_folder(BASE, tmp_path / "bases", token=ALICE).name == published
    for stranger in (None, BOB):
        with pytest.raises(BaseModelError, match="or it is private"):
            base_folder(BASE, tmp_path / "bases", token=stranger)


@pytest.fixture
def shared_page(hub: LocalHub, tmp_path: Path) -> Iterator[Services]:
    services = build_services(Settings(home=tmp_path / "page", owners=Owners.browser), [cpu()])
    yield replace(services, bases=BaseChecker(None))
    services.jobs.close()


def test_nobody_else_draws_with_what_is_on_the_disk(shared_page: Services, published: str) -> None:
    trying = TryHandlers(shared_page)
    with pytest.raises(BaseModelError, match="or it is private"):
        trying.request([], [], PICTURE | {"base": BASE.name}, "bert", hub_token=BOB)
    assert trying.request([], [], PICTURE | {"base": BASE.name}, "anna", hub_token=ALICE).base == BASE.name
    assert trying.request([], [], PICTURE | {"base": STARTER}, "bert").base == STARTER
