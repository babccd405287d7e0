"""The Library's "Add a concept": refusals in words, a file that comes in, and a LoRA out of a full model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Page, expect
from safetensors.torch import save_file

from tests.app_process import App
from tests.browser.steps import MINUTE, go
from tests.tiny_models import WIDTH
from trainer.engine.export.single_file import write_single_file

pytestmark = pytest.mark.browser


def open_panel(new_page: Callable[..., Page], studio: App) -> Page:
    """A fresh page with the panel open."""
    page = new_page(studio.url)
    go(page, "Library")
    page.get_by_role("button", name="Add a concept").click()
    return page


def add(page: Page, file: Path, base: Path) -> None:
    page.locator("#add-file input[type=file]").set_input_files(file)
    expect(page.locator("#add-file")).to_contain_text(file.name[:8])
    field = page.locator("#add-base input")
    field.fill(str(base))
    field.press("Enter")
    page.locator("#add").click()


def taken_in(page: Page, count: int) -> None:
    """Wait on the Jobs page until so many jobs are finished, and go back."""
    go(page, "Jobs")
    expect(page.locator(".cs-pill.finished")).to_have_count(count, timeout=3 * MINUTE)
    go(page, "Library")
    expect(page.locator(".cs-concept")).to_have_count(count)


@pytest.mark.timeout(600)
def test_concept_is_added_from_a_file(
    app: Callable[..., App], new_page: Callable[..., Page], tmp_path: Path, tiny_v_model: Path
) -> None:
    (tmp_path / "evil.pt").write_bytes(b"\x80\x04\x95 this would run code")
    save_file({"emb_params": torch.randn(2, WIDTH)}, tmp_path / "Cat Toy.safetensors")
    write_single_file(tiny_v_model, tmp_path / "my-model.safetensors")
    studio = app(STUDIO_EXAMPLE="0")
    studio.start()
    page = open_panel(new_page, studio)
    add(page, tmp_path / "evil.pt", tiny_v_model)
    expect(page.locator("[data-testid=toast-body]")).to_contain_text("may run code when it is opened")

    page = open_panel(new_page, studio)
    add(page, tmp_path / "Cat Toy.safetensors", tiny_v_model)
    expect(page.locator("[data-testid=toast-body]").last).to_contain_text("Cat Toy.safetensors is being taken in")
    taken_in(page, 1)
    card = page.locator(".cs-concept").first
    expect(card).to_contain_text("imported from Cat Toy.safetensors")
    expect(card).to_contain_text("Write <cat-toy> here")

    add(page, tmp_path / "my-model.safetensors", tiny_v_model)
    taken_in(page, 2)
    page.locator(".cs-concept").first.get_by_role("button", name="Extract a LoRA").click()
    page.locator("#extract-rank input").fill("4")
    page.locator("#extract").click()
    expect(page.locator("#extract-panel")).to_be_hidden()
    go(page, "Jobs")
    expect(page.locator(".cs-job").first).to_contain_text("does not differ from its base", timeout=3 * MINUTE)
