"""From photos to the Hub and back, for each method: what was published opens in plain diffusers, in another process.

Two of the methods are queued by one press and compared on the way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.app_process import App
from tests.browser.comparing import see_them_side_by_side, train_both
from tests.browser.plain_diffusers import open_as_a_stranger
from tests.browser.steps import PATIENCE_MS, fill, go, phone_photos, press_train
from tests.hub.accounts import ALICE
from tests.hub.local_hub import LocalHub
from trainer.recipe.choices import Method

pytestmark = pytest.mark.browser
METHODS = (Method.textual_inversion, Method.dreambooth_lora, Method.dreambooth)  # in the order of training
Open = Callable[..., Page]
MakeApp = Callable[..., App]


# quick: tests/jobs/publishing/test_publish.py, tests/ui/test_comparing.py
@pytest.mark.slow
@pytest.mark.fault(21, 26, 39, 59)
def test_concept_of_each_method_comes_back_from_the_hub(
    app: MakeApp, new_page: Open, hub: LocalHub, tmp_path: Path, tiny_model: Path
) -> None:
    studio = app(STUDIO_EXAMPLE="0", **hub.environment(tmp_path / "hf"))
    studio.start()
    page = new_page(studio.url)
    say_that_there_is_no_such_base(page)
    photos = phone_photos(tmp_path / "phone")
    train_both(page, studio, photos, tiny_model)
    see_them_side_by_side(page)
    train_the_whole_model(page, photos, tiny_model)
    expect(page.locator(".cs-job .cs-pill.finished")).to_have_count(len(METHODS), timeout=PATIENCE_MS)
    hub.order_fault("repos/create", status=503)
    for place, method in enumerate(reversed(METHODS)):  # the newest is shown first
        publish(page, place, f"alice/{method}", retry=place == 0)
    show_to_everybody(page, hub, f"alice/{METHODS[-1]}")
    open_as_a_stranger(hub, str(tiny_model), {method: f"alice/{method}" for method in METHODS}, tmp_path)
    find_no_token(studio, hub)


def say_that_there_is_no_such_base(page: Page) -> None:
    base = page.locator("#base input")
    base.fill("alice/nothing")
    base.press("Enter")
    expect(page.locator("#plan")).to_contain_text("There is no model alice/nothing", timeout=PATIENCE_MS)
    page.locator("#train").click()
    expect(page.locator("[data-testid=toast-body]")).to_contain_text("There is no model alice/nothing")
    go(page, "Jobs")
    expect(page.locator("#jobs-shown")).to_contain_text("No jobs yet")


def train_the_whole_model(page: Page, photos: list[Path], base: Path) -> None:
    go(page, "Train")
    page.locator("#photos-upload input[type=file]").set_input_files(photos)
    expect(page.locator(".cs-photo")).to_have_count(len(photos), timeout=PATIENCE_MS)
    page.locator("#compare input").uncheck()
    fill(page, "red-mug", "teapot", base, 12, Method.dreambooth)
    press_train(page)
    expect(page.locator(".cs-job h3").first).to_have_text("red-mug")


def publish(page: Page, place: int, repo_id: str, *, retry: bool) -> None:
    """Publish one concept of the Library; `retry`: the Hub is away for a moment."""
    go(page, "Library")
    expect(page.locator(".cs-concept")).to_have_count(len(METHODS))
    page.locator(".cs-concept").nth(place).get_by_role("button", name="Publish", exact=True).click()
    page.get_by_label("Repository").fill(repo_id)
    page.get_by_label("Access token").fill(ALICE)
    page.locator("#publish").click()
    expect(page.locator("#publish-panel")).to_be_hidden()
    go(page, "Jobs")
    card = page.locator(".cs-job").nth(place)
    if retry:
        words = "Trained and verified. The Hub has a problem of its own (503)."
        expect(card).to_contain_text(words, timeout=PATIENCE_MS)
        card.get_by_role("button", name="Retry publishing").click()
    expect(card).to_contain_text(f"On the Hub as {repo_id}, private", timeout=PATIENCE_MS)


def show_to_everybody(page: Page, hub: LocalHub, repo_id: str) -> None:
    """The newest concept, which was published privately."""
    seen_by_nobody = f"{hub.url}/api/models/{repo_id}"
    assert page.request.get(seen_by_nobody).status != HTTPStatus.OK
    go(page, "Library")
    page.locator(".cs-concept").first.get_by_role("button", name="Make public").click()
    expect(page.get_by_label("Repository")).to_have_value(repo_id)
    page.get_by_label("Access token").fill(ALICE)
    page.locator("#publish").click()
    expect(page.locator("#publish-panel")).to_be_hidden()
    go(page, "Jobs")
    expect(page.locator(".cs-job").first).to_contain_text(
        re.compile(rf"On the Hub as {repo_id}\."), timeout=PATIENCE_MS
    )
    assert page.request.get(seen_by_nobody).status == HTTPStatus.OK


def find_no_token(studio: App, hub: LocalHub) -> None:
    """No file of the app, no argument of its processes and nothing on the Hub holds the token."""
    for file in [f for f in studio.home.rglob("*") if f.is_file()]:
        assert ALICE.encode() not in file.read_bytes(), file
    for process in studio.processes().values():
        assert ALICE not in " ".join(process.cmdline())
    assert not [r for r in hub.requests() if ALICE in r.path + r.query]
