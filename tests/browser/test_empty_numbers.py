"""Numbers that start empty stay so: the page must neither show nor send a 0 that nobody entered."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.app_process import App
from tests.browser.steps import MINUTE, go

pytestmark = pytest.mark.browser


def test_number_that_nobody_entered_is_empty(app: Callable[..., App], new_page: Callable[..., Page]) -> None:
    studio = app(STUDIO_EXAMPLE="0")
    studio.start()
    page = new_page(studio.url)
    page.get_by_role("button", name="Advanced settings").click()
    for field in ("ema_decay", "min_snr_gamma", "alpha"):
        expect(page.locator(f"#field-{field} input")).to_have_value("")
    page.locator("#name textarea, #name input").fill("red-mug")
    expect(page.locator("#plan")).to_contain_text("steps", timeout=MINUTE)
    expect(page.locator("#plan .cs-problems")).to_have_count(0)
    go(page, "Try it")
    page.locator("#try-settings button").first.click()
    expect(page.locator("#try-seed input")).to_have_value("")
