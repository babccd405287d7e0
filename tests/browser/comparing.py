"""Two methods on the same photos, by one press: both plans, both jobs, and the view that shows them side by side."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.app_process import App
from tests.browser.steps import PATIENCE_MS, fill, go, width_of
from trainer.run_folder import RunFolder

NAMES = ["textual inversion", "DreamBooth adapter"]


def train_both(page: Page, studio: App, photos: list[Path], base: Path) -> None:
    """Queue textual inversion and DreamBooth LoRA as the first two jobs."""
    go(page, "Train")
    page.locator("#photos-upload input[type=file]").set_input_files(photos)
    expect(page.locator(".cs-photo")).to_have_count(len(photos), timeout=PATIENCE_MS)
    fill(page, "red-mug", "teapot", base, 20)

    # the second method's plan is below the first one's
    page.locator("#compare input").check()
    expect(page.locator("#train")).to_have_text("Train both")
    expect(page.locator(".cs-second-plan")).to_contain_text("Then DreamBooth adapter: 800 steps")
    page.locator("#compare-steps input").fill("10")
    page.locator("#compare-steps input").press("Tab")
    expect(page.locator(".cs-second-plan")).to_contain_text("10 steps")
    page.locator("#train").dblclick()  # is one press

    # two jobs, and the view of both while they wait and train
    view = page.locator("#compare-jobs")
    expect(view.locator(".cs-heads h3")).to_have_text(NAMES)
    expect(page.locator(".cs-job")).to_have_count(2)
    recipes = [RunFolder(run).read_recipe() for run in (studio.home / "runs").iterdir()]
    assert sorted(recipe.steps for recipe in recipes) == [10, 20]  # or they train for long, and not what was entered


def see_them_side_by_side(page: Page) -> None:
    """The view that `train_both` left open, while they train and after."""
    view = page.locator("#compare-jobs")
    expect(view.locator(".cs-heads .cs-pill.finished")).to_have_count(2, timeout=PATIENCE_MS)
    pairs = view.locator(".cs-pair:has(.cs-two)")  # beside them are the photos
    expect(pairs).to_have_count(2)
    expect(pairs.locator("h4").first).to_have_text("a photo of <red-mug> seed 1000")
    shown = pairs.first.locator("img:visible")
    expect(shown).to_have_count(2)
    assert [width_of(shown.nth(number)) for number in range(2)] == [64, 64]
    expect(view.locator("tr", has_text="knows the subject").locator("td")).to_have_text([re.compile(r"\d %")] * 2)
    expect(view.locator("tr", has_text="changed everything else").locator("td").first).to_have_text("0 %")
    expect(view.locator("tr", has_text="Steps").locator("td")).to_have_text(["20", "10"])

    # the slider goes back to before the training
    expect(view.locator("figcaption").first).to_have_text("step 20 of 20")
    view.locator("input[type=range]").focus()
    page.keyboard.press("Home")
    expect(view.locator("figcaption").first).to_have_text("before")

    # closed and opened again, from the card and from the Library
    view.get_by_role("button", name="Close").click()
    expect(view).to_be_hidden()
    page.locator(".cs-job").first.get_by_role("button", name="Compare").click()
    expect(view.locator(".cs-pair:has(.cs-two)")).to_have_count(2)
    go(page, "Library")
    expect(page.locator(".cs-concept")).to_have_count(2)
    page.locator(".cs-concept").first.get_by_role("button", name="Compare").click()
    expect(page.locator("#compare-library .cs-heads h3")).to_have_text(NAMES)
