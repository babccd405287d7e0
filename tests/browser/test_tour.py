"""A newcomer's tour in real Chromium: upload, train, watch, try; reload in the middle, a second tab, a second user."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from tests.app_process import App
from tests.browser.steps import PATIENCE_MS, cancel, fill, go, phone_photos, press_train, width_of
from tests.waiting import wait_until
from trainer.events import Step, read_events
from trainer.run_folder import RunFolder

pytestmark = pytest.mark.browser
Open = Callable[..., Page]
MakeApp = Callable[..., App]
STEPS = 120
TABS = {
    "Train": "#photos-upload",
    "Jobs": "#jobs-shown",
    "Try it": "#try-prompt",
    "Library": "#library-shown",
    "About": ".cs-about",
}
"""Each tab with something that it shows."""


@pytest.mark.fault(38)
def test_newcomers_tour(quiet_studio: App, new_page: Open, tmp_path: Path, tiny_model: Path) -> None:
    studio = quiet_studio
    page = new_page(studio.url)

    # photos: a verdict for each
    page.locator("#photos-upload input[type=file]").set_input_files(phone_photos(tmp_path / "phone"))
    expect(page.locator(".cs-photo")).to_have_count(5, timeout=PATIENCE_MS)
    expect(page.locator(".cs-photo.refused")).to_contain_text("ends in the middle")
    expect(page.locator(".cs-set")).to_contain_text("1 file was left out")
    page.locator(".cs-photo.refused .cs-remove").click()
    expect(page.locator(".cs-photo")).to_have_count(4)

    # the square that is trained on is dragged to the top, made smaller, and kept
    photo = page.locator(".cs-photo", has_text="IMG_0")
    before = photo.locator("img").get_attribute("src")
    photo.get_by_role("button", name="Choose the square").click()
    square, size = page.locator(".cs-crop-square"), page.locator(".cs-crop-editor input")
    expect(page.locator(".cs-crop-editor output")).to_have_text("480 px wide")
    size.fill("240")
    square.hover()
    page.mouse.down()
    page.mouse.move(0, 0)
    page.mouse.up()
    square.press("ArrowRight")
    page.get_by_role("button", name="Use this square").click()
    expect(page.locator(".cs-crop-editor")).to_have_count(0)
    expect(photo.locator("img")).not_to_have_attribute("src", str(before))
    chosen = json.loads(str(photo.locator("[data-crop]").get_attribute("data-crop")))
    assert (chosen["top"], chosen["side"]) == (0, 240)
    assert 0 < chosen["left"] < 20

    # a name that cannot be one is said at once; nothing is queued
    page.locator("#name textarea, #name input").fill("Red Mug")
    expect(page.locator("#name-note")).to_contain_text("2 to 40 of a-z")
    page.locator("#train").click()
    expect(page.locator("[data-testid=toast-body]")).to_contain_text("name")

    fill(page, "red-mug", "teapot", tiny_model, STEPS)
    expect(page.locator("#name-note")).to_contain_text("<red-mug>")
    page.locator("#train").click()

    # watch it learn; reload in the middle; a second tab sees the same, a second user on this machine too
    expect(page.locator(".cs-job h3")).to_have_text("red-mug")
    with in_the_middle_of_training(studio):
        expect(page.locator(".cs-film figure").nth(0)).to_contain_text("before", timeout=PATIENCE_MS)
        expect(page.locator(".cs-status")).to_contain_text(re.compile(rf"step \d+ of {STEPS}"), timeout=PATIENCE_MS)
        expect(page).to_have_title(re.compile(r"^\d+ % red-mug"), timeout=PATIENCE_MS)
        page.reload()
        expect(page.get_by_role("tab", name="Jobs", exact=True)).to_have_attribute("aria-selected", "true")
        expect(page.locator(".cs-job h3")).to_have_text("red-mug")
        go(page, "Train")
        expect(page.locator("#name textarea, #name input")).to_have_value("red-mug")
        expect(page.locator("#class-word textarea, #class-word input")).to_have_value("teapot")
        go(page, "Jobs")
        second_tab = page.context.new_page()
        second_tab.goto(studio.url)
        go(second_tab, "Jobs")
        expect(second_tab.locator(".cs-job h3")).to_have_text("red-mug")
    expect(page.locator(".cs-pill.finished")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator(".cs-message")).to_contain_text("Trained and verified")
    assert width_of(page.locator(".cs-film img").first) == 64

    # its photos once more, on the Train page
    page.get_by_role("button", name="Train again").click()
    expect(page.locator(".cs-photo")).to_have_count(4)
    expect(page.get_by_label("Textual inversion", exact=True)).to_be_checked()
    expect(page.locator("#field-steps input")).to_have_value(str(STEPS))

    # try it; settings are those of the base, then those that suit the concept
    go(page, "Try it")
    page.locator("#try-settings").get_by_text("Settings", exact=True).click()
    expect(page.locator("#try-width input")).to_have_value("128")
    go(page, "Jobs")
    page.get_by_role("button", name="Try it").click()
    expect(page.locator("#try-words")).to_contain_text("<red-mug>")
    expect(page.locator("#try-prompt textarea")).to_have_value(re.compile("<red-mug>"))
    expect(page.locator("#try-width input")).to_have_value("64")
    page.locator("#try-steps input[type=number]").fill("7")
    page.locator("#try-generate").click()
    expect(page.locator("#try-pictures figure")).to_have_count(4, timeout=PATIENCE_MS)
    assert width_of(page.locator("#try-pictures img").first) == 64

    # a grid of two settings, which comes back from its picture
    page.locator("#try-grid").get_by_text("Compare in a grid", exact=True).click()
    for side, setting, values in (("across", "Guidance scale", "2, 4"), ("down", "Words in the prompt", "red, blue")):
        page.locator(f"#try-grid-{side} input").click()
        page.get_by_role("option", name=setting, exact=True).last.click()  # the other list is still closing
        page.locator(f"#try-grid-{side}-values").get_by_role("textbox").fill(values)
    page.locator("#try-generate").click()
    grid = page.locator("#try-pictures figure.cs-whole-grid")
    expect(grid).to_have_count(1, timeout=PATIENCE_MS)
    expect(page.locator("#try-pictures figure")).to_have_count(9)
    expect(page.locator("#try-stop")).to_be_disabled()
    assert width_of(grid.locator("img")) > 2 * 64
    page.locator("#try-grid-down-values").get_by_role("textbox").fill("")
    grid.get_by_role("button", name="Same settings").click()
    expect(page.locator("#try-grid-down-values").get_by_role("textbox")).to_have_value("red, blue")

    # the same settings again, from a picture, on a page where nothing is picked yet
    page.reload()
    expect(page.locator("#try-prompt textarea")).to_have_value(re.compile("<red-mug>"))
    page.locator("#try-settings").get_by_text("Settings", exact=True).click()
    page.locator("#try-pictures figure").last.get_by_role("button", name="Same settings").click()
    expect(page.locator("#try-prompt textarea")).to_have_value(re.compile("<red-mug>"))
    expect(page.locator("#try-words")).to_contain_text("<red-mug>")
    expect(page.locator("#try-steps input[type=number]")).to_have_value("7")
    page.locator("#try-pictures figure").last.get_by_role("button", name="Use as start").click()
    expect(page.locator("#try-start img")).to_be_visible()
    expect(page.locator("#try-starting")).to_contain_text("Starts from your picture")

    # the library: files, and deletion that asks first
    go(page, "Library")
    expect(page.locator(".cs-concept h3")).to_have_text("red-mug")
    page.get_by_text("Files (2)").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="learned_embeds.safetensors").click()
    assert download.value.path().stat().st_size > 100
    page.locator(".cs-concept").get_by_role("button", name="Delete").dblclick()
    expect(page.locator(".cs-concept h3")).to_have_text("red-mug")  # a double click only asks
    page.get_by_role("button", name="Delete the concept and its photos?").click()
    expect(page.locator("#library-shown")).to_contain_text("Nothing here yet")
    assert list((studio.home / "runs").iterdir()) == []


@contextlib.contextmanager
def in_the_middle_of_training(studio: App) -> Iterator[None]:
    """While entered, the run of this app stands still at one of its steps."""
    wait_until(lambda: "child" in studio.processes(), "training starts")
    (run,) = map(RunFolder, (studio.home / "runs").iterdir())
    wait_until(lambda: run.events_file.exists() and any(isinstance(e, Step) for e in read_events(run.events_file)))
    child = studio.processes()["child"]
    child.suspend()
    try:
        yield
    finally:
        child.resume()


@pytest.mark.slow  # quick: tests/ui/test_api.py, tests/ui/serving/test_web.py
@pytest.mark.fault(40)
def test_another_browser_sees_nothing(app: MakeApp, new_page: Open, tmp_path: Path, tiny_model: Path) -> None:
    studio = app(STUDIO_EXAMPLE="0", STUDIO_OWNERS="browser")
    studio.start()
    anna, eve = new_page(studio.url), new_page(studio.url)
    anna.locator("#photos-upload input[type=file]").set_input_files(phone_photos(tmp_path / "phone"))
    expect(anna.locator(".cs-photo")).to_have_count(5, timeout=PATIENCE_MS)
    thumbnail = anna.locator(".cs-photo img").first.evaluate("image => image.src")
    anna.locator("#name textarea, #name input").fill("red-mug")
    anna.locator("#train").click()
    expect(anna.locator(".cs-job h3")).to_have_text("red-mug")
    go(eve, "Jobs")
    expect(eve.locator("#jobs-shown")).to_contain_text("No jobs yet")
    assert anna.request.get(thumbnail).status == 404  # the draft became a job
    run = next((studio.home / "runs").iterdir())
    private = f"{studio.url}/studio/run/{run.name}/photos/thumbs/0001.jpg"
    assert anna.context.request.get(private).status == 200
    assert eve.context.request.get(private).status == 404

    # a folder of the server is no base for visitors
    eve.locator("body").press("Escape")
    go(eve, "Train")
    base = eve.locator("#base input")
    base.fill(str(tiny_model))
    base.press("Enter")
    expect(eve.locator("#plan")).to_contain_text("not a folder")

    go(anna, "Jobs")
    cancel(anna.locator(".cs-job"))


@pytest.fixture(scope="module")
def quiet_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """An app for tests that leave no concept behind."""
    studio = App(tmp_path_factory.mktemp("quiet") / "home", STUDIO_EXAMPLE="0")
    studio.start()
    yield studio
    studio.stop()


def test_no_page_is_wider_than_the_screen(quiet_studio: App, new_page: Open) -> None:
    page = new_page(quiet_studio.url, width=390)
    for width in (390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        for tab, shown in TABS.items():
            go(page, tab)  # all five fit beside each other, none hides in a menu
            expect(page.get_by_role("tab", name=tab, exact=True)).to_have_attribute("aria-selected", "true")
            expect(page.locator(shown)).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= width, tab


def test_every_advanced_setting_has_room_and_no_number_that_nobody_entered(quiet_studio: App, new_page: Open) -> None:
    page = new_page(quiet_studio.url)
    page.get_by_role("button", name="Advanced settings").click()
    fields = page.locator("#advanced [id^='field-']").locator("visible=true")
    expect(page.locator("#field-mirror")).to_be_visible()
    boxes = [box for field in fields.all() if (box := field.bounding_box()) is not None]
    assert len(boxes) > 15
    assert min(box["width"] for box in boxes) >= 200
    assert len({round(box["x"]) for box in boxes}) == 2  # columns, at this width

    for field in ("ema_decay", "min_snr_gamma", "alpha"):
        expect(page.locator(f"#field-{field} input")).to_have_value("")
    page.locator("#name textarea, #name input").fill("red-mug")
    expect(page.locator("#plan")).to_contain_text("steps", timeout=PATIENCE_MS)
    expect(page.locator("#plan .cs-problems")).to_have_count(0)  # a 0 would be one
    go(page, "Try it")
    page.locator("#try-settings button").first.click()
    expect(page.locator("#try-seed input")).to_have_value("")


def test_recipe_file_fills_the_page_as_often_as_it_is_changed(
    quiet_studio: App, new_page: Open, tmp_path: Path
) -> None:
    page, file = new_page(quiet_studio.url), tmp_path / "mug.yaml"
    for steps in (77, 88):
        file.write_text(f"{{method: textual-inversion, kind: pet, name: red-mug, vectors: 3, steps: {steps}}}")
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Settings from a recipe file").click()
        chooser.value.set_files(file)
        expect(page.locator("#field-steps input")).to_have_value(str(steps))
    expect(page.locator("#recipe-note")).to_contain_text("Filled in from mug.yaml")
    expect(page.locator("#plan")).to_contain_text("88 steps")
    expect(page.get_by_label("Textual inversion", exact=True)).to_be_checked()
    expect(page.locator("#name textarea, #name input")).to_have_value("red-mug")
    expect(page.locator("#class-word textarea, #class-word input")).to_have_value("animal")


@pytest.mark.slow  # quick: tests/ui/test_comparing.py, of what the server answers
def test_jobs_page_goes_on_looking_after_answers_were_lost(
    app: MakeApp, new_page: Open, tmp_path: Path, tiny_model: Path
) -> None:
    """As where a phone changes its network: what it asked at that moment is never answered."""
    studio = app(STUDIO_EXAMPLE="0")
    studio.start()
    watching, working = new_page(studio.url), new_page(studio.url)
    go(watching, "Jobs")
    expect(watching.locator("#jobs-shown")).to_contain_text("No jobs yet")
    asked: list[str] = []

    def lose(route: Route) -> None:
        asked.append(route.request.post_data or "")
        route.fulfill(json={"event_id": f"lost-{len(asked)}"})

    watching.route("**/queue/join*", lose)
    wait_until(lambda: watching.wait_for_timeout(500) is None and len(asked) > 0, "a look is lost")
    watching.wait_for_timeout(9000)  # the longest time between two looks
    watching.unroute("**/queue/join*")
    working.locator("#photos-upload input[type=file]").set_input_files(phone_photos(tmp_path / "phone"))
    expect(working.locator(".cs-photo")).to_have_count(5, timeout=PATIENCE_MS)
    fill(working, "red-mug", "teapot", tiny_model, 300)
    press_train(working)
    expect(watching.locator(".cs-job h3")).to_have_text("red-mug")
    cancel(working.locator(".cs-job"))
    expect(watching.locator(".cs-pill.cancelled")).to_be_visible()


def test_own_photos_are_found_again_after_examples_and_a_reload(
    quiet_studio: App, new_page: Open, tmp_path: Path
) -> None:
    page = new_page(quiet_studio.url)
    page.locator("#photos-upload input[type=file]").set_input_files(phone_photos(tmp_path / "photos"))
    expect(page.locator("#photos-shown figure").first).to_be_visible(timeout=PATIENCE_MS)  # more may follow it
    page.locator("#example-0").click()
    expect(page.get_by_role("button", name="Back to them")).to_be_visible(timeout=PATIENCE_MS)
    page.locator("#example-1").click()
    expect(page.locator("#photos-shown")).to_contain_text("Ready.", timeout=PATIENCE_MS)
    page.reload()
    page.get_by_role("button", name="Back to them").click(timeout=PATIENCE_MS)
    expect(page.locator("#photos-shown figure .cs-name", has_text="broken.jpg")).to_be_visible(timeout=PATIENCE_MS)
    expect(page.locator("#photos-shown figure")).to_have_count(5)
    expect(page.get_by_role("button", name="Back to them")).to_have_count(0)


@pytest.mark.fault(37)
def test_upload_that_is_broken_off_leaves_nothing(quiet_studio: App) -> None:
    """As where a tab is closed, or a phone loses its network."""
    before = {file for file in quiet_studio.home.rglob("*") if file.is_file()}
    address = urlsplit(quiet_studio.url)
    assert address.hostname is not None
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="mug.jpg"\r\n\r\n'
    with socket.create_connection((address.hostname, address.port or 80)) as browser:
        browser.sendall(
            b"POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            b"Content-Length: 9000000\r\n\r\n" + head
        )
        browser.sendall(b"x" * 3_000_000)
        wait_until(lambda: large(quiet_studio.home) - before)  # it arrives
    wait_until(lambda: not large(quiet_studio.home) - before)


def large(folder: Path) -> set[Path]:
    """Files that hold a good part of what was sent."""
    found = set[Path]()
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if file.is_file() and file.stat().st_size > 1_000_000:
                found.add(file)
    return found
