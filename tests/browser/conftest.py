"""Real Chromium in front of the whole app."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.steps import CHROMIUM, launch_chromium
from tests.hub.accounts import ALICE
from tests.hub.local_hub import LocalHub

expect.set_options(timeout=120_000)  # a busy machine answers late; a test that passes does not wait


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the words of the pages that were open then."""
    report = yield
    if report.failed and report.when == "call" and isinstance(browser := item.funcargs.get("chromium"), Browser):
        pages = [page for context in browser.contexts for page in context.pages]
        report.sections.extend((f"the page {page.url}", page.locator("body").inner_text()) for page in pages)
    return report


@pytest.fixture(scope="module")  # while it lives, its event loop runs in this process, and no other may
def chromium() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip(f"{CHROMIUM} is not installed; `make setup` installs it as root on Debian and Ubuntu")
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright)
        yield browser
        browser.close()


@pytest.fixture
def new_page(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages, each in a browser profile of its own; errors in their consoles fail the test."""
    errors: list[str] = []

    def open_page(url: str, *, width: int = 1280, height: int = 900) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height})
        context.set_default_timeout(120_000)  # of further tabs, too
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(url)
        page.wait_for_selector("#photos-upload")
        return page

    yield open_page
    for context in chromium.contexts:
        context.close()
    assert errors == []


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    """A Hub of the test's own."""
    with LocalHub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def alice(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> HfApi:
    """Alice's client in this process; the library read its environment long ago, so what it read is changed."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    return HfApi(endpoint=hub.url, token=ALICE)


@pytest.fixture
def tiny_base(alice: HfApi, tiny_model: Path) -> str:
    """The id of a public base on the Hub, where a run takes a fraction of what it takes on the starter."""
    alice.create_repo("alice/tiny")
    alice.upload_folder(repo_id="alice/tiny", folder_path=tiny_model)
    return "alice/tiny"
