"""The app where the Hub cannot be reached: everything local works, and what needs the Hub says so."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.app_process import App
from tests.browser.steps import MINUTE, fill, go, phone_photos
from trainer.choices import Method

pytestmark = pytest.mark.browser


def dead_endpoint() -> str:
    """An address at which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.fault(36)
@pytest.mark.timeout(600)
def test_local_work_goes_on_without_the_hub(
    app: Callable[..., App], new_page: Callable[..., Page], tmp_path: Path, tiny_model: Path
) -> None:
    studio = app(STUDIO_EXAMPLE="0", HF_HUB_OFFLINE="0", HF_ENDPOINT=dead_endpoint(), HF_TOKEN="hf_of_this_machine")
    studio.start()
    page = new_page(studio.url)
    base = page.locator("#base input")
    base.fill("somebody/some-model")
    base.press("Enter")
    expect(page.locator("#plan")).to_contain_text("The Hub cannot be reached", timeout=MINUTE)

    page.locator("#photos-upload input[type=file]").set_input_files(phone_photos(tmp_path / "phone"))
    expect(page.locator(".cs-photo")).to_have_count(5, timeout=MINUTE)
    fill(page, "red-mug", "mug", tiny_model, 4, Method.textual_inversion)
    page.locator("#train").click()
    expect(page.locator(".cs-pill.finished")).to_be_visible(timeout=4 * MINUTE)
    go(page, "Library")
    page.locator(".cs-concept").get_by_role("button", name="Publish").click()
    page.locator("#publish").click()
    expect(page.locator("[data-testid=toast-body]")).to_contain_text("The Hub cannot be reached", timeout=MINUTE)
