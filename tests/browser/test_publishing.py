"""From photos to the Hub and back, for each method: what was published opens in plain diffusers, in another process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.app_process import App
from tests.browser.steps import MINUTE, fill, go, phone_photos
from tests.hub.accounts import ALICE
from tests.hub.local_hub import LocalHub
from trainer.choices import Method

pytestmark = pytest.mark.browser
OPENED_BY_A_STRANGER = {
    Method.textual_inversion: "p = P.from_pretrained(base); p.load_textual_inversion(repo); words = '<red-mug>'",
    Method.dreambooth_lora: "p = P.from_pretrained(base); p.load_lora_weights(repo); words = 'red-mug teapot'",
    Method.dreambooth: "p = P.from_pretrained(repo); words = 'red-mug teapot'",
}
PICTURE = """
import sys
from diffusers import StableDiffusionPipeline as P
base, repo = sys.argv[1:]
{load}
picture = p("a photo of " + words, num_inference_steps=2, height=64, width=64, output_type="np").images[0]
assert picture.std() > 0.01
"""
Open = Callable[..., Page]
MakeApp = Callable[..., App]


@pytest.mark.fault(59)
@pytest.mark.timeout(600)
def test_concept_of_each_method_comes_back_from_the_hub(
    app: MakeApp, new_page: Open, hub: LocalHub, tmp_path: Path, tiny_model: Path
) -> None:
    studio = app(STUDIO_EXAMPLE="0", **hub.environment(tmp_path / "hf"))
    studio.start()
    page = new_page(studio.url)
    photos = phone_photos(tmp_path / "phone")
    for count, (method, load) in enumerate(OPENED_BY_A_STRANGER.items(), start=1):
        train(page, photos, tiny_model, method)
        expect(page.locator(".cs-pill.finished")).to_have_count(count, timeout=3 * MINUTE)
        go(page, "Library")
        expect(page.locator(".cs-concept")).to_have_count(count)
        publish(page, f"alice/{method}")
        program = PICTURE.format(load=load)
        opened = subprocess.run(
            [sys.executable, "-c", program, str(tiny_model), f"alice/{method}"],
            env={**os.environ, **hub.environment(tmp_path / "stranger", token=ALICE)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert opened.returncode == 0, opened.stderr
    find_no_token(studio, hub)


def train(page: Page, photos: list[Path], base: Path, method: Method) -> None:
    go(page, "Train")
    page.locator("#photos-upload input[type=file]").set_input_files(photos)
    expect(page.locator(".cs-photo")).to_have_count(len(photos), timeout=MINUTE)
    fill(page, "red-mug", "teapot", base, 12, method)
    page.locator("#train").click()


def publish(page: Page, repo_id: str) -> None:
    page.locator(".cs-concept").first.get_by_role("button", name="Publish").click()
    page.get_by_label("Repository").fill(repo_id)
    page.get_by_label("Access token").fill(ALICE)
    page.locator("#publish").click()
    expect(page.locator("#publish-panel")).to_be_hidden()
    go(page, "Jobs")
    expect(page.locator(".cs-job").first).to_contain_text(f"On the Hub as {repo_id}, private", timeout=MINUTE)


def find_no_token(studio: App, hub: LocalHub) -> None:
    """No file of the app, no argument of its processes and nothing on the Hub holds the token."""
    for file in [f for f in studio.home.rglob("*") if f.is_file()]:
        assert ALICE.encode() not in file.read_bytes(), file
    for process in studio.processes().values():
        assert ALICE not in " ".join(process.cmdline())
    assert not [r for r in hub.requests() if ALICE in r.path + r.query]
