"""Signing in with Hugging Face on a Space: one's own jobs on any device, and publishing without typing a token.

What was published then opens in plain diffusers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.app_process import App
from tests.browser.plain_diffusers import open_as_a_stranger
from tests.browser.space import describe, find_no_token, sign_in, space_environment
from tests.browser.steps import PATIENCE_MS, go, phone_photos
from tests.hub.local_hub import LocalHub
from trainer.recipe.choices import Method

pytestmark = pytest.mark.browser
Open = Callable[..., Page]
MakeApp = Callable[..., App]


@pytest.fixture
def space(app: MakeApp, hub: LocalHub, tmp_path: Path) -> App:
    """The app in the environment of a Space with sign-in."""
    studio = app(**space_environment(hub, tmp_path / "hf"))
    studio.start()
    return studio


@pytest.mark.slow  # quick: tests/ui/test_sign_in.py, tests/jobs/publishing/test_publisher.py
@pytest.mark.fault(30, 59)
def test_signed_in_person_finds_and_publishes_their_jobs(
    space: App, hub: LocalHub, new_page: Open, tmp_path: Path, tiny_base: str
) -> None:
    page = new_page(space.url)
    for tab in ("Jobs", "Train"):
        go(page, tab)
        expect(page.get_by_text("This Space does not keep its disk.").locator("visible=true")).to_have_count(1)
    describe(page, phone_photos(tmp_path / "phone"), "red-mug", tiny_base)
    page.locator("#train").click()
    expect(page.locator(".cs-job h3")).to_have_text("red-mug")
    expect(page.locator(".cs-pill.finished")).to_be_visible(timeout=PATIENCE_MS)

    # publishing asks to sign in, not for a token
    go(page, "Library")
    page.locator(".cs-concept").get_by_role("button", name="Publish").click()
    expect(page.get_by_label("Access token")).to_be_hidden()
    page.locator("#publish").click()
    expect(page.locator("[data-testid=toast-body]")).to_contain_text("Sign in first")

    # what the browser had before is the person's afterwards, on any device
    sign_in(page)
    go(page, "Library")
    expect(page.locator(".cs-concept h3")).to_have_text("red-mug")
    phone = new_page(space.url, width=390)
    go(phone, "Jobs")
    expect(phone.locator("#jobs-shown")).to_contain_text("No jobs yet")
    sign_in(phone)
    go(phone, "Jobs")
    expect(phone.locator(".cs-job h3")).to_have_text("red-mug")
    hub.seat_visitor("bob")
    other = new_page(space.url)
    sign_in(other)
    go(other, "Jobs")
    expect(other.locator("#jobs-shown")).to_contain_text("No jobs yet")

    page.locator(".cs-concept").get_by_role("button", name="Publish").click()
    page.locator("#publish").click()
    go(page, "Jobs")
    expect(page.locator(".cs-job")).to_contain_text("On the Hub as alice/red-mug, private", timeout=PATIENCE_MS)
    open_as_a_stranger(hub, tiny_base, {Method.dreambooth_lora: "alice/red-mug"}, tmp_path)
    find_no_token(space, hub)
