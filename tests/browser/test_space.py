"""The banner of each kind of copy, what it says of money, and the plan and the fields that go with it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import HfApi, SpaceHardware
from playwright.sync_api import Page, Route, expect

from tests.app_process import App
from tests.browser.space import describe, sign_in, space_environment
from tests.browser.steps import PATIENCE_MS, cancel, phone_photos
from tests.hub.accounts import ALICE
from tests.hub.local_hub import LocalHub
from tests.jobs.money.space_fixtures import STUDIO, make_space, requests_for

pytestmark = pytest.mark.browser
Open = Callable[..., Page]
MakeApp = Callable[..., App]
SPACE = {"SYSTEM": "spaces", "SPACE_ID": STUDIO, "GRADIO_SERVER_NAME": "0.0.0.0"}
ANSWERS = "**/queue/data**"  # the stream that brings what each event has led to
GPU_LIST = "#!/bin/sh\necho '0, GPU-1f2e, Tesla T4'\n"


@pytest.fixture
def gpu(tmp_path: Path) -> dict[str, str]:
    """Variables under which the driver's tool reports a GPU; nothing is trained on it here."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "nvidia-smi").write_text(GPU_LIST)
    (tools / "nvidia-smi").chmod(0o755)
    return {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture
def open_copy(app: MakeApp, new_page: Open, hub: LocalHub, tmp_path: Path) -> Callable[..., Page]:
    """Starts the app in an environment and opens its page."""

    def start(**environment: str) -> Page:
        copy = app(STUDIO_EXAMPLE="0", **{**hub.environment(tmp_path / "hf"), **environment})
        copy.start()
        return new_page(copy.url)

    return start


@pytest.mark.slow  # quick: tests/ui/test_space_banner.py
def test_local_machine_has_no_banner_and_costs_nothing(open_copy: Callable[..., Page]) -> None:
    page = open_copy(HF_TOKEN=ALICE)
    expect(page.locator("#plan")).to_contain_text("no cost", timeout=PATIENCE_MS)
    expect(page.locator(".cs-space")).to_have_count(0)


@pytest.mark.slow  # quick: tests/ui/test_space_banner.py
@pytest.mark.parametrize(
    ("secret", "words", "link", "leads_to"),
    [
        ({}, "for trying things out, at no cost", "Duplicate this Space", "?duplicate=true"),
        ({"HF_TOKEN": ALICE}, "your copy, without a GPU. It costs nothing", "Choose a GPU in Settings", "/settings"),
    ],
    ids=["shared", "duplicate"],
)
def test_space_without_a_gpu_says_what_it_is_and_what_to_press(
    open_copy: Callable[..., Page],
    hub: LocalHub,
    alice: HfApi,
    secret: dict[str, str],
    words: str,
    link: str,
    leads_to: str,
) -> None:
    make_space(alice, None)
    page = open_copy(**SPACE, **secret)
    expect(page.locator(".cs-space")).to_contain_text(words)
    button = page.locator(".cs-space").get_by_role("link", name=link)
    expect(button).to_have_attribute("href", f"{hub.url}/spaces/{STUDIO}{leads_to}")
    expect(page.locator("#plan")).to_contain_text("no cost", timeout=PATIENCE_MS)
    expect(page.locator("#cost-limit")).to_be_hidden()


@pytest.mark.slow  # quick: tests/jobs/money, tests/ui/test_space_banner.py
def test_duplicate_with_a_gpu_says_what_it_costs_refuses_what_is_too_dear_and_keeps_its_hardware_when_told_to(
    open_copy: Callable[..., Page], alice: HfApi, hub: LocalHub, tmp_path: Path, gpu: dict[str, str]
) -> None:
    make_space(alice, SpaceHardware.T4_SMALL)
    alice.update_repo_settings(STUDIO, private=True, repo_type="space")
    alice.set_space_sleep_time(STUDIO, 7200)
    page = open_copy(**SPACE, **gpu, HF_TOKEN=ALICE)
    banner = page.locator(".cs-space")
    expect(banner).to_contain_text("This copy has a GPU and costs $0.40 an hour", timeout=PATIENCE_MS)
    expect(banner).to_contain_text("It goes to sleep 2 h 00 min after the last visit")
    expect(banner).not_to_contain_text("HF_TOKEN")
    expect(banner).to_contain_text("It is private: whom you let in can train at your cost.")
    refuse_what_is_too_dear(page, phone_photos(tmp_path / "phone"))
    keep_the_hardware_after_all(page)
    assert requests_for(hub, "hardware") == []


@pytest.mark.slow  # quick: tests/ui/test_admission.py
def test_public_copy_with_a_gpu_trains_for_its_owner_alone(
    app: MakeApp, new_page: Open, hub: LocalHub, alice: HfApi, tmp_path: Path, gpu: dict[str, str]
) -> None:
    make_space(alice, SpaceHardware.T4_SMALL)
    photos = phone_photos(tmp_path / "phone")
    studio = app(**{**space_environment(hub, tmp_path / "hf"), **gpu, "HF_TOKEN": ALICE})
    studio.start()
    page = new_page(studio.url)
    expect(page.locator(".cs-space")).to_contain_text("Here only alice can train", timeout=PATIENCE_MS)
    hub.seat_visitor("bob")
    sign_in_while_the_network_is_slow(page)
    describe(page, photos, "red-mug")
    page.locator("#train").click()
    expect(page.locator("[data-testid=toast-body]")).to_contain_text(
        "so only alice may train here. Duplicate the Space"
    )
    hub.seat_visitor("alice")
    page = new_page(studio.url)
    sign_in(page)
    describe(page, photos, "red-mug")
    page.locator("#train").click()
    expect(page.locator(".cs-job h3").first).to_have_text("red-mug")
    for part, process in studio.processes().items():  # or a visitor could name what only alice may see
        assert part in {"page", "treasurer"} or ALICE not in process.environ().values(), part


def sign_in_while_the_network_is_slow(page: Page) -> None:
    """The page still waits for answers when its reader leaves it, and the Hub takes longer than a page's reconnect."""

    def answer_late(login: Route) -> None:
        page.unroute(ANSWERS)
        time.sleep(5)
        login.continue_()

    page.route(ANSWERS, lambda _: None)
    page.route("**/login/huggingface**", answer_late)
    page.reload()
    sign_in(page)


def refuse_what_is_too_dear(page: Page, photos: list[Path]) -> None:
    """A job whose estimate is above the limit stays on the Train page, with a reason."""
    page.locator("#photos-upload input[type=file]").set_input_files(photos)
    expect(page.locator(".cs-photo")).to_have_count(len(photos), timeout=PATIENCE_MS)
    page.locator("#name textarea, #name input").fill("red-mug")
    expect(page.locator("#plan")).to_contain_text("about $0.0", timeout=PATIENCE_MS)
    expect(page.locator("#plan")).to_contain_text("by the Hub's price list")
    expect(page.locator("#release-hardware")).to_be_visible()
    page.locator("#cost-limit input").fill("0.001")
    page.locator("#cost-limit input").press("Tab")
    page.locator("#train").click()
    toast = page.locator("[data-testid=toast-body]")
    expect(toast).to_contain_text("Nothing was queued: it would cost about")
    expect(page.get_by_role("tab", name="Train", exact=True)).to_have_attribute("aria-selected", "true")


def keep_the_hardware_after_all(page: Page) -> None:
    """A job that was to give the hardware back is cancelled, and so is the wish, by the banner's button."""
    page.locator("#cost-limit input").fill("")
    page.locator("#cost-limit input").press("Tab")
    page.locator("#release-hardware input").check()
    page.locator("#train").click()
    cancel(page.locator(".cs-job"))
    keep = page.locator(".cs-space").get_by_role("button", name="Keep it")
    keep.click(timeout=PATIENCE_MS)
    expect(page.locator("[data-testid=toast-body]").last).to_contain_text("The hardware is kept")
    expect(keep).to_have_count(0)
    expect(page.locator(".cs-job")).not_to_contain_text("given back")
