"""What a page shows of pictures that are being made, whoever opened it and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from app import build_services
from inference.drawings import Drawings
from inference.protocol import Refused, Waiting
from inference.request import PictureRequest
from jobs.record.store import SINGLE_OWNER
from tests.inference.scripted import MANY, Scripted, made
from tests.ui.conftest import VISITOR, drawn
from tests.waiting import wait_until
from trainer.machine.devices import cpu
from trainer.settings import Settings
from ui.services import Services
from ui.try_it.drawing_panel import HISTORY, DrawingPanel, Shown

REQUEST = PictureRequest(prompt="a red apple", steps=2)


class Page:
    """A page of the machine's only owner, and what it shows."""

    def __init__(self, services: Services) -> None:
        self._panel = drawn(lambda _: DrawingPanel(services, gr.Button()))
        self._shown = Shown()
        self.words = self.history = ""
        self.stop_is_lit = self.looks_again = False
        self.every_s = 0.0

    def look(self) -> Page:
        self._take(self._panel.look(self._shown, HISTORY, VISITOR))
        return self

    def look_on(self) -> Page:
        self._take(self._panel.look_on(self._shown, HISTORY, VISITOR))
        return self

    def begin(self, *requests: PictureRequest) -> None:
        self._shown = self._panel.begin(requests[0], None, SINGLE_OWNER, None)

    def press_stop(self) -> None:
        self.stop_is_lit = self._panel._stop_all(VISITOR)["interactive"]

    def _take(self, looked: list[Any]) -> None:
        words, history, stop, self._shown, timer, _ = looked
        self.words = self.words if words == gr.skip() else words
        self.history = self.history if history == gr.skip() else history
        self.stop_is_lit, self.looks_again, self.every_s = stop["interactive"], timer.active, timer.value


@pytest.fixture
def generator() -> Scripted:
    return Scripted()


@pytest.fixture
def services(tmp_path: Path, generator: Scripted) -> Iterator[Services]:
    services = build_services(Settings(home=tmp_path / "home"), [cpu()])
    yield replace(services, drawings=Drawings(generator))
    generator.answer(MANY)
    services.jobs.close()


def test_page_that_opens_goes_on_where_another_was_closed(services: Services, generator: Scripted) -> None:
    folder = services.pictures.folder(SINGLE_OWNER)
    folder.mkdir(parents=True)
    Page(services).begin(REQUEST)
    page = Page(services)
    wait_until(lambda: "Making pictures." in page.look().words, "it is told")
    assert 'aria-valuenow="50"' in page.words
    assert (page.stop_is_lit, page.looks_again, page.history) == (True, True, "")
    other = Page(services).look()
    Image.new("RGB", (8, 8)).save(folder / "1.png")
    generator.answer()
    wait_until(lambda: "1 in " in page.look().words, "it is made")
    assert 'class="fresh"' in page.history
    assert (page.stop_is_lit, page.looks_again) == (False, False)
    assert "1 in " in other.look().words  # it showed it before
    assert Page(services).look().words == ""  # told already


def test_page_shows_nothing_of_anothers(services: Services, tmp_path: Path) -> None:
    services.drawings.begin("another", [REQUEST], tmp_path)
    page = Page(services).look()
    assert (page.words, page.stop_is_lit, page.looks_again) == ("", False, False)


def test_newer_request_is_shown_first_and_the_older_one_after_its_end(services: Services, tmp_path: Path) -> None:
    older = services.drawings.begin(SINGLE_OWNER, [REQUEST] * 4, tmp_path)
    page = Page(services).look()
    page.begin(REQUEST)
    newer = services.drawings.to_show(SINGLE_OWNER)
    assert newer is not None
    assert newer is not older
    wait_until(lambda: "Making pictures." in page.look().words, "the newer one")
    newer.stop()
    wait_until(lambda: newer.is_over, "it is stopped")
    assert "Stopped." in page.look().words
    wait_until(lambda: "Making picture 1 of 4." in page.look().words, "the older one")
    assert (page.stop_is_lit, page.looks_again) == (True, True)
    page.press_stop()
    assert not page.stop_is_lit
    wait_until(lambda: older.is_over, "it is stopped, too")
    assert "Stopped." in page.look().words


def test_page_that_missed_the_end_is_told_it_again(services: Services, generator: Scripted, tmp_path: Path) -> None:
    page = Page(services)
    page.begin(REQUEST)
    wait_until(lambda: "Making pictures." in page.look_on().words, "it is told")
    generator.answers = [Refused(text="Memory ran out.")]
    generator.answer()
    wait_until(lambda: not services.drawings.is_under_way(SINGLE_OWNER), "it is refused")
    lost = page._panel.look_on(page._shown, HISTORY, VISITOR)
    page._shown = lost[3]  # the state is kept by the app, so that the page is thought to know
    assert "Making pictures." in page.words
    assert "Memory ran out." in page.look_on().words
    assert (page.stop_is_lit, page.looks_again) == (False, False)


def test_page_is_told_when_the_app_has_forgotten_what_it_waits_for(services: Services) -> None:
    page = Page(services).look_on()
    assert "ask again for the others" in page.words
    assert "Pictures appear here" in page.history
    assert (page.stop_is_lit, page.looks_again) == (False, False)


def test_page_that_many_share_says_how_long_pictures_are_kept(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = drawn(lambda _: DrawingPanel(services, gr.Button()))
    folder = services.pictures.folder(SINGLE_OWNER)
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "1.png")
    assert "are kept" not in panel.history(SINGLE_OWNER, HISTORY)
    monkeypatch.setattr(services.owners, "single", False)
    assert "are kept, for 30 days." in panel.history(SINGLE_OWNER, HISTORY)
    assert "are kept" not in panel.history("nobody", HISTORY)


def test_refusal_and_failure_are_said(services: Services, generator: Scripted, tmp_path: Path) -> None:
    generator.answers = [made(tmp_path, "1.png"), Refused(text="Memory <ran> out.")]
    generator.answer(2)
    page, drawing = Page(services), services.drawings.begin(SINGLE_OWNER, [REQUEST] * 2, tmp_path)
    wait_until(lambda: drawing.is_over, "it is refused")
    assert "Memory &lt;ran&gt; out." in page.look().words
    assert not page.stop_is_lit

    def join(_folder: Path, _files: object) -> Path:
        raise RuntimeError("secret folder")

    generator.answer()
    drawing = services.drawings.begin(SINGLE_OWNER, [REQUEST], tmp_path, join=join)
    wait_until(lambda: drawing.is_over, "it fails")
    assert "Something went wrong on our side" in page.look().words
    assert (page.stop_is_lit, page.looks_again) == (False, False)


def test_who_waits_for_training_looks_calmly_and_a_lost_database_is_no_toast(
    services: Services, generator: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator.meanwhile = Waiting(ahead=0, for_training=True)
    monkeypatch.setattr(services.jobs, "ahead", lambda: (1, 300.0))
    page, drawing = Page(services), services.drawings.begin(SINGLE_OWNER, [REQUEST], tmp_path)
    wait_until(lambda: drawing.look().answer is not None, "it waits")
    assert "The GPU is training for about 5 min 00 s more." in page.look().words
    assert page.every_s > 1

    def away() -> tuple[int, float]:
        raise OSError("away")

    monkeypatch.setattr(services.jobs, "ahead", away)
    assert "Something went wrong" in page.look().words
    assert page.looks_again
