"""The pictures of the README, made again: what is shown there is what this version does."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect, sync_playwright

from jobs.example import find_examples
from tests import ROOT
from tests.app_process import App
from tests.benchmarks.durations import train
from tests.benchmarks.likeness import last_previews
from tests.browser.steps import launch_chromium

TARGET = ROOT / "assets" / "screenshots"
SIDE, GAP = 128, 4


def draw_readme_pictures() -> None:
    """Two photos, two pictures of the untrained model, two after full DreamBooth by the preset; and the Train page."""
    example = find_examples()[0]
    photos = [Image.open(file).convert("RGB") for file in sorted(example.folder.glob("*.jpg"))[:2]]
    _pair(photos).save(TARGET / "photos.png", optimize=True)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        train("dreambooth", example.folder, run, example.name, example.kind, example.class_word)
        before = [Image.open(file).convert("RGB") for file in sorted((run / "previews").glob("step-000000-*.png"))]
        _pair(before).save(TARGET / "before.png", optimize=True)
        _pair(last_previews(run)).save(TARGET / "after.png", optimize=True)
    _photograph_train_page(example.title)


def _pair(pictures: list[Image.Image]) -> Image.Image:
    sheet = Image.new("RGB", (2 * SIDE + GAP, SIDE), "white")
    for number, picture in enumerate(pictures[:2]):
        sheet.paste(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (number * (SIDE + GAP), 0))
    return sheet


def _photograph_train_page(example: str) -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        app = App(Path(folder), STUDIO_EXAMPLE="0")
        app.start()
        browser = launch_chromium(playwright)
        page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        page.goto(app.url)
        page.get_by_role("button", name=example, exact=True).click()
        expect(page.locator(".cs-photo")).not_to_have_count(0, timeout=60_000)
        expect(page.locator("#plan")).to_contain_text("steps", timeout=60_000)
        page.wait_for_timeout(2000)  # the last pictures and the plan's figures arrive
        shot = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
        shot.quantize(256).save(TARGET / "train.png", optimize=True)  # a third of the size, and nobody sees it
        browser.close()
        app.stop()
