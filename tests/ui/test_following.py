"""What a page shows of pictures that are being made, whoever opened it and when."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from app import build_services
from inference.drawings import Drawings
from inference.protocol import Refused
from inference.request import PictureRequest
from jobs.record.store import SINGLE_OWNER
from tests.inference.scripted import Scripted, made
from tests.ui.conftest import VISITOR, drawn
from tests.waiting import PATIENCE_S
from trainer.machine.devices import cpu
from trainer.settings import Settings
from ui.services import Services
from ui.try_it.following import HISTORY
from ui.try_it.tab import TryTab
from ui.try_it.tried import what_was_tried

REQUEST = PictureRequest(prompt="a red apple", steps=2)
LIT, DARK = gr.update(interactive=True), gr.update(interactive=False)


@pytest.fixture
def generator() -> Scripted:
    return Scripted()


@pytest.fixture
def services(tmp_path: Path, generator: Scripted) -> Iterator[Services]:
    services = build_services(Settings(home=tmp_path / "home"), [cpu()])
    yield replace(services, drawings=Drawings(generator))
    services.jobs.close()


@pytest.fixture
def page(services: Services) -> TryTab:
    return drawn(lambda _: TryTab(services, what_was_tried()))


def test_page_that_opens_goes_on_where_another_was_closed(
    services: Services, page: TryTab, generator: Scripted
) -> None:
    folder = services.pictures.folder(SINGLE_OWNER)
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "1.png")
    services.drawings.begin(SINGLE_OWNER, [REQUEST], folder)

    async def look() -> list[Any]:
        shown: list[Any] = []
        async for each in page.follow(HISTORY, VISITOR):
            shown.append(each)
            if "Making pictures." in each[0]:
                generator.go.set()
        return shown

    *under_way, (words, history, stop) = asyncio.run(asyncio.wait_for(look(), PATIENCE_S))
    assert any('aria-valuenow="50"' in each[0] for each in under_way)
    assert all(each[2] == LIT for each in under_way)
    assert ("1 in " in words, stop) == (True, DARK)
    assert 'class="fresh"' in history


def test_page_that_opens_shows_nothing_of_what_is_over_or_anothers(
    services: Services, page: TryTab, tmp_path: Path
) -> None:
    services.drawings.begin("another", [REQUEST], tmp_path)

    async def look() -> list[Any]:
        return [each async for each in page.follow(HISTORY, VISITOR)]

    assert asyncio.run(look()) == [(gr.skip(), gr.skip(), gr.skip())]
    services.drawings.stop("another")


def test_page_that_follows_an_older_request_leaves_it_for_a_newer_one(
    services: Services, page: TryTab, tmp_path: Path
) -> None:
    services.drawings.begin(SINGLE_OWNER, [REQUEST], tmp_path)
    newer: list[object] = []

    async def look() -> list[Any]:
        shown: list[Any] = []
        async for each in page.follow(HISTORY, VISITOR):
            shown.append(each)
            newer.append(services.drawings.begin(SINGLE_OWNER, [REQUEST], tmp_path))
        return shown

    assert len(asyncio.run(asyncio.wait_for(look(), PATIENCE_S))) == 1
    services.drawings.stop(SINGLE_OWNER)


def test_refusal_and_stop_are_said(services: Services, page: TryTab, generator: Scripted, tmp_path: Path) -> None:
    generator.answers = [made(tmp_path), Refused(text="Memory <ran> out.")]

    async def last() -> Any:
        return [each async for each in page.follow(HISTORY, VISITOR)][-1]

    services.drawings.begin(SINGLE_OWNER, [REQUEST], tmp_path)
    page._stop_drawing(VISITOR)
    words, _, stop = asyncio.run(asyncio.wait_for(last(), PATIENCE_S))
    assert ("Stopped." in words, stop) == (True, DARK)
    generator.go.set()
    services.drawings.begin(SINGLE_OWNER, [REQUEST] * 2, tmp_path)
    words, _, stop = asyncio.run(asyncio.wait_for(last(), PATIENCE_S))
    assert ("Memory &lt;ran&gt; out." in words, stop) == (True, DARK)
