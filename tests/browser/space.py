"""The app as a Space with sign-in, and what a visitor does there."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from tests.app_process import App
from tests.browser.steps import PATIENCE_MS, choose_base
from tests.hub.local_hub import LocalHub

SCOPES = ("openid", "profile", "contribute-repos", "gated-repos")


def space_environment(
    hub: LocalHub, home: Path, *, space_id: str = "alice/studio", scopes: tuple[str, ...] = SCOPES
) -> dict[str, str]:
    """A Space's environment with `hf_oauth: true`, but for SPACE_HOST, which would send the sign-in back to the Hub."""
    return {
        "SYSTEM": "spaces",
        "SPACE_ID": space_id,
        "GRADIO_SERVER_NAME": "0.0.0.0",
        "STUDIO_EXAMPLE": "0",
        **hub.environment(home),
        **hub.sign_in_environment(scopes),
    }


def sign_in(page: Page) -> None:
    page.get_by_role("button", name="Sign in with Hugging Face").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible(timeout=PATIENCE_MS)
    page.wait_for_selector("#photos-upload")


def describe(page: Page, photos: list[Path], name: str, base: str | None = None) -> None:
    """The Train page for a run of a few steps, on a base of the Hub or on the starter."""
    page.locator("#photos-upload input[type=file]").set_input_files(photos)
    expect(page.locator(".cs-photo")).to_have_count(len(photos), timeout=PATIENCE_MS)
    page.locator("#name textarea, #name input").fill(name)
    if base:
        choose_base(page, base)
    page.locator("#field-steps input").fill("8")
    page.locator("#field-steps input").press("Tab")
    expect(page.locator("#plan")).to_contain_text("8 steps")


def train_and_publish(page: Page, photos: list[Path], name: str, repo_id: str) -> None:
    """Train, to be published when done, and see it on the Hub."""
    describe(page, photos, name)
    page.locator("#publish-when-done input").check()
    page.locator("#train").click()
    expect(page.locator(".cs-job h3").first).to_have_text(name)
    expect(page.locator(".cs-job").first).to_contain_text(f"To be published to {repo_id}")
    expect(page.locator(".cs-job").first).to_contain_text(f"On the Hub as {repo_id}", timeout=PATIENCE_MS)


def find_no_token(studio: App, hub: LocalHub) -> None:
    """No file of the app holds a token that the Hub was ever shown."""
    tokens = {request.token for request in hub.requests() if request.token}
    assert tokens
    for file in [f for f in studio.home.rglob("*") if f.is_file()]:
        assert not [token for token in tokens if token.encode() in file.read_bytes()], file
