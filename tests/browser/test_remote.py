"""A CPU Space that sends its training to HF Jobs: the choice with its price, the cost, and the result at home."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi
from playwright.sync_api import Page, expect

from tests import ROOT
from tests.app_process import App
from tests.browser.space import SCOPES, describe, find_no_token, sign_in, space_environment
from tests.browser.steps import PATIENCE_MS, go, phone_photos
from tests.hub.local_hub import LocalHub

pytestmark = pytest.mark.browser
Open = Callable[..., Page]
MakeApp = Callable[..., App]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    """A Hub whose Jobs run this very code, as the image of a Space does."""
    with LocalHub(tmp_path / "hub", jobs_run_in=ROOT) as hub:
        yield hub


@pytest.mark.slow
@pytest.mark.fault(59)
def test_signed_in_person_trains_at_hugging_face(
    app: MakeApp,
    hub: LocalHub,
    alice: HfApi,
    new_page: Open,
    tmp_path: Path,
) -> None:
    alice.create_repo("alice/studio", repo_type="space", space_sdk="gradio")
    space = app(**space_environment(hub, tmp_path / "hf", scopes=(*SCOPES, "jobs")))
    space.start()
    page = new_page(space.url)
    describe(page, phone_photos(tmp_path / "phone"), "red-mug")
    expect(page.locator("#flavor")).to_be_hidden()
    page.get_by_label("Hugging Face Jobs").check()
    expect(page.locator("#place-note")).to_contain_text("private bucket of your account")
    expect(page.locator("#flavor input")).to_have_value("Nvidia T4 - small, 16 GB: $0.40 an hour")
    expect(page.locator("#plan")).to_contain_text("At most $1.20")
    page.locator("#train").click()
    expect(page.locator("[data-testid=toast-body]")).to_contain_text("Sign in first")

    sign_in(page)
    describe(page, phone_photos(tmp_path / "again"), "red-mug")
    page.get_by_label("Hugging Face Jobs").check()
    expect(page.locator("#plan")).to_contain_text("At most $1.20")
    page.locator("#publish-when-done input").check()
    page.locator("#train").click()
    expect(page.locator(".cs-job")).to_contain_text("To be published to alice/red-mug")
    expect(page.locator(".cs-job")).to_contain_text("At Hugging Face on Nvidia T4", timeout=PATIENCE_MS)
    expect(page.locator(".cs-cost")).to_contain_text("so far, at $0.40 an hour", timeout=PATIENCE_MS)
    expect(page.locator(".cs-pill.finished")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator(".cs-film figure").first).to_be_visible()
    expect(page.locator(".cs-job")).to_contain_text("On the Hub as alice/red-mug", timeout=PATIENCE_MS)
    go(page, "Library")
    expect(page.locator(".cs-concept h3")).to_have_text("red-mug")
    assert list(alice.list_buckets("alice")) == []
    (job,) = alice.list_jobs(namespace="alice")
    assert job.space_id == "alice/studio"
    find_no_token(space, hub)
