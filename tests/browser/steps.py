"""What several tours do on the page."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

import pillow_heif
from playwright.sync_api import Browser, Locator, Page, Playwright, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeoutError

from tests.pictures import exif_with_gps, subject_picture
from tests.waiting import PATIENCE_S, wait_until
from trainer.bases import inspect_base
from trainer.recipe.choices import Kind, Method
from trainer.recipe.presets import preset_values

CHROMIUM = "/usr/bin/chromium"
PATIENCE_MS = PATIENCE_S * 1000
# how a method is chosen, each press with the words that its answer brings
WAYS = {
    Method.textual_inversion: {"Textual inversion": "a few new words"},
    Method.dreambooth_lora: {"DreamBooth": "small additions", "adapter (LoRA)": "small additions"},
    Method.dreambooth: {"DreamBooth": "learns", "full model": "the whole model"},
}


def launch_chromium(playwright: Playwright) -> Browser:
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    return playwright.chromium.launch(executable_path=CHROMIUM, args=["--disable-gpu", *sandbox])


def go(page: Page, tab: str) -> None:
    page.get_by_role("tab", name=tab, exact=True).click()


def phone_photos(folder: Path) -> list[Path]:
    """What a phone gives: turned JPEGs with a place, one HEIC, one blurred twin, one that is no photo at all."""
    pillow_heif.register_heif_opener()
    folder.mkdir()
    for number in range(3):
        picture = subject_picture(number * 5 + 1, (640, 480), centre=(0.4 + 0.1 * number, 0.5))
        picture.rotate(90, expand=True).save(folder / f"IMG_{number}.jpg", exif=exif_with_gps(6))
    subject_picture(31, (640, 480), centre=(0.6, 0.4)).save(folder / "IMG_3.HEIC", "HEIF")
    (folder / "broken.jpg").write_bytes((folder / "IMG_0.jpg").read_bytes()[:3000])
    return sorted(folder.iterdir())


def fill(
    page: Page, name: str, class_word: str, base: Path, steps: int, method: Method = Method.textual_inversion
) -> None:
    """Everything of the Train page but the photos; a folder as base, so that the tour is quick."""
    page.locator("#name textarea, #name input").fill(name)
    page.locator("#class-word textarea, #class-word input").fill(class_word)
    choose_base(page, base)
    for way, words in WAYS[method].items():
        page.get_by_label(way, exact=True).check()
        expect(page.locator("#methods .chosen")).to_contain_text(words)
    preset = preset_values(method, Kind.object, inspect_base(base))["steps"]
    # what was typed before stays where the presets do not differ
    expect(page.locator("#plan")).to_contain_text(re.compile(rf"\b({preset}|{steps}) steps"))
    if method is Method.dreambooth:  # drawing the preset's hundred takes longer than all the rest
        page.get_by_role("button", name="Advanced settings").click()
        page.locator("#field-class_images input").fill("3")
        page.locator("#field-class_images input").press("Tab")
    page.locator("#field-steps input").fill(str(steps))
    page.locator("#field-steps input").press("Tab")
    expect(page.locator("#plan")).to_contain_text(f"{steps} steps")


def press_train(page: Page) -> None:
    """Queue what is entered; the page goes to the Jobs tab by itself."""
    page.locator("#train").click()
    expect(page.get_by_role("tab", name="Jobs", exact=True)).to_have_attribute("aria-selected", "true")


def cancel(job: Locator) -> None:
    """Cancel the job of this card. Its question lapses after some seconds, which a busy machine may take to answer."""

    ended = job.locator(".cs-pill.cancelled")

    def press() -> bool:
        with contextlib.suppress(PlaywrightTimeoutError):
            for words in ("Cancel", "Really cancel?"):
                job.get_by_role("button", name=words, exact=True).click(timeout=4000)
            ended.wait_for(timeout=4000)
        return ended.is_visible()

    wait_until(press, "the job is cancelled")


def choose_base(page: Page, base: Path | str) -> None:
    """Choose a folder or a Hub id and wait for the presets that come with it; the starter's differ from all others."""
    field = page.locator("#base input")
    if field.input_value() == str(base):
        return
    field.fill(str(base))
    field.press("Enter")
    traits = inspect_base(base) if isinstance(base, Path) else None
    presets = "|".join(str(preset_values(method, Kind.object, traits)["steps"]) for method in Method)
    expect(page.locator("#plan")).to_contain_text(re.compile(rf"\b({presets}) steps"), timeout=PATIENCE_MS)


def width_of(picture: Locator) -> int:
    """The width of a picture in its own pixels, once it is loaded; 0 where it cannot be."""
    picture.scroll_into_view_if_needed()
    loaded = "i => i.complete ? i.naturalWidth : new Promise(r => { i.onload = i.onerror = () => r(i.naturalWidth) })"
    return picture.evaluate(loaded)
