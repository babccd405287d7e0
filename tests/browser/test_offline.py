"""The app where the Hub cannot be reached: everything local works, and what needs the Hub says so."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from playwright.sync_api import Page, expect
from safetensors.torch import save_file

from jobs.record.job_file import JobFile
from jobs.record.state import JobState
from jobs.record.store import SINGLE_OWNER, new_job_id, now
from tests.app_process import App
from tests.browser.steps import PATIENCE_MS, cancel, fill, go, phone_photos, press_train
from tests.jobs.finished_run import write_finished_run
from tests.tiny_models import WIDTH
from trainer.recipe.choices import Method

pytestmark = [pytest.mark.browser, pytest.mark.slow]
# quick: tests/jobs/submission (test_preflight.py, test_bringing_in.py), tests/engine/test_extract.py
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def dead_hub() -> Iterator[str]:
    """An address where nobody listens. Its port is held meanwhile: else a Hub of another test might be given it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture(scope="module")
def studio(dead_hub: str, tmp_path_factory: pytest.TempPathFactory, photo_folder: Path) -> Iterator[App]:
    """One app for all tests here, with a full model in its Library."""
    home = tmp_path_factory.mktemp("offline") / "home"
    file = JobFile(id=new_job_id(), owner=SINGLE_OWNER, title="full-mug", state=JobState.finished, created=now())
    run = write_finished_run(home / "runs" / file.id, photo_folder, name="full-mug", method="dreambooth")
    run.job_file.write_text(file.model_dump_json())
    studio = App(home, STUDIO_EXAMPLE="0", HF_HUB_OFFLINE="0", HF_ENDPOINT=dead_hub, HF_TOKEN="hf_of_this_machine")
    studio.start()
    yield studio
    studio.stop()


def wait_until_finished(page: Page, name: str) -> None:
    go(page, "Jobs")
    expect(page.locator(".cs-job", has_text=name).locator(".cs-pill.finished")).to_be_visible(timeout=PATIENCE_MS)
    go(page, "Library")


@pytest.mark.fault(36)
def test_local_work_goes_on_without_the_hub(studio: App, new_page: Open, tmp_path: Path, tiny_model: Path) -> None:
    page = new_page(studio.url)
    base = page.locator("#base input")
    base.fill("somebody/some-model")
    base.press("Enter")
    expect(page.locator("#plan")).to_contain_text("The Hub cannot be reached", timeout=PATIENCE_MS)

    page.locator("#photos-upload input[type=file]").set_input_files(phone_photos(tmp_path / "phone"))
    expect(page.locator(".cs-photo")).to_have_count(5, timeout=PATIENCE_MS)
    fill(page, "red-mug", "mug", tiny_model, 4, Method.textual_inversion)
    press_train(page)
    wait_until_finished(page, "red-mug")
    page.locator(".cs-concept", has_text="red-mug").get_by_role("button", name="Publish").click()
    page.locator("#publish").click()
    expect(page.locator("[data-testid=toast-body]")).to_contain_text("The Hub cannot be reached", timeout=PATIENCE_MS)


def test_concept_is_added_from_a_file(studio: App, new_page: Open, tmp_path: Path, tiny_v_model: Path) -> None:
    (tmp_path / "evil.pt").write_bytes(b"\x80\x04\x95 this would run code")
    save_file({"emb_params": torch.randn(2, WIDTH)}, tmp_path / "Cat Toy.safetensors")
    page = open_panel(new_page, studio)
    add(page, tmp_path / "evil.pt", tiny_v_model)
    expect(page.locator("[data-testid=toast-body]")).to_contain_text("may run code when it is opened")

    page = open_panel(new_page, studio)
    add(page, tmp_path / "Cat Toy.safetensors", tiny_v_model)
    expect(page.locator("[data-testid=toast-body]").last).to_contain_text("Cat Toy.safetensors is being taken in")
    wait_until_finished(page, "cat-toy")
    card = page.locator(".cs-concept", has_text="cat-toy")
    expect(card).to_contain_text("imported from Cat Toy.safetensors")
    expect(card).to_contain_text("Write <cat-toy> here")


def open_panel(new_page: Open, studio: App) -> Page:
    """A fresh page with the panel open."""
    page = new_page(studio.url)
    go(page, "Library")
    page.get_by_role("button", name="Add a concept").click()
    return page


def add(page: Page, file: Path, base: Path) -> None:
    page.locator("#add-file input[type=file]").set_input_files(file)
    expect(page.locator("#add-file").get_by_role("cell", name=file.name, exact=True)).to_be_visible()
    field = page.locator("#add-base input")
    field.fill(str(base))
    field.press("Enter")
    page.locator("#add-name textarea, #add-name input").fill("")  # then it is named after the file
    page.locator("#add").click()


def test_lora_is_extracted_from_a_full_model(studio: App, new_page: Open) -> None:
    page = new_page(studio.url)
    go(page, "Library")
    page.locator(".cs-concept", has_text="full-mug").get_by_role("button", name="Extract a LoRA").click()
    page.locator("#extract-rank input").fill("4")
    page.locator("#extract").click()
    expect(page.locator("#extract-panel")).to_be_hidden()
    go(page, "Jobs")
    job = page.locator(".cs-job", has_text="full-mug").first
    expect(job).to_contain_text("DreamBooth adapter")
    cancel(job)
