"""Sign-ins as the web layer sees them: who is who, for how long, and what becomes of what the browser had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image
from starlette.requests import Request

from tests.ui.conftest import trained_job
from tests.ui.visits import COOKIE_VALUE, ON_SPACE, scope
from trainer.settings import Owners, Settings
from ui.owners import OwnerPolicy
from ui.services import Services


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OwnerPolicy:
    for name, value in ON_SPACE.items():
        monkeypatch.setenv(name, value)
    return OwnerPolicy(Settings(home=tmp_path))


def test_person_is_the_same_in_every_browser(policy: OwnerPolicy) -> None:
    here, there = scope(sub="1"), scope(sub="1", cookie="f" * 48)
    assert policy.of_scope(here) == policy.of_scope(there) == policy.signed_in(here)
    assert policy.of_scope(scope(sub="2")) != policy.of_scope(here)


def test_browser_is_the_owner_before_a_sign_in_and_after_it_has_ended(policy: OwnerPolicy) -> None:
    browser = policy.of_cookie(COOKIE_VALUE)
    assert browser is not None
    assert policy.of_scope(scope()) == browser
    assert policy.of_scope(scope(sub="1", expires_in_s=-1)) == browser


def test_what_a_browser_remembers_of_a_person_is_shown_to_nobody_else(policy: OwnerPolicy) -> None:
    def request(**of: Any) -> gr.Request:
        return gr.Request(request=Request(scope(**of)))

    person, browser = policy.of_scope(scope(sub="1")), policy.of_scope(scope())
    assert policy.remembers(person, request(sub="1"))
    assert not policy.remembers(person, request())  # who has signed out
    assert not policy.remembers(person, request(sub="2"))
    assert policy.remembers(browser, request(sub="1"))  # typed before the sign-in
    assert not policy.remembers(None, request())


@pytest.mark.parametrize("missing", ["SYSTEM", "SPACE_ID", "OAUTH_CLIENT_ID"])
def test_session_counts_for_nothing_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Outside a Space gradio's session cookie is signed with a key that everybody knows."""
    for name, value in ON_SPACE.items():
        if name != missing:
            monkeypatch.setenv(name, value)
    policy = OwnerPolicy(Settings(home=tmp_path, owners=Owners.huggingface))
    assert not policy.can_sign_in
    assert policy.of_scope(scope(sub="1")) == policy.of_cookie(COOKIE_VALUE)


def test_person_takes_over_what_the_browser_had(services: Services, tiny_model: Path, photo_folder: Path) -> None:
    browser = "browser"
    job = trained_job(services, browser, tiny_model, photo_folder)
    draft = services.drafts.new_id()
    services.drafts.folder(browser, draft).mkdir(parents=True)
    services.pictures.folder(browser).mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(services.pictures.folder(browser) / "1-1.png")
    services.adopt(browser, "person")
    assert services.jobs.job(job.id, "person").owner == "person"
    assert services.jobs.views(browser) == []
    assert services.drafts.folder("person", draft).is_dir()
    assert services.pictures.find("person", "1-1.png") is not None
    services.adopt(browser, "person")
