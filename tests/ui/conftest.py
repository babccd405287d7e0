"""The page's services over a fresh data root, where each browser is an owner."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr
import pytest
from starlette.requests import Request

from app import build_services
from jobs.record.store import SINGLE_OWNER, Job
from tests.engine.conftest import small_recipe
from tests.jobs.empty_database import prepare_database
from tests.jobs.finished_run import write_finished_run
from tests.prepared_photos import take_prepared
from trainer.machine.devices import cpu
from trainer.settings import Owners, Settings
from ui.services import Services

_T = TypeVar("_T")
VISITOR = gr.Request(Request({"type": "http", "headers": []}))
PICTURE: dict[str, Any] = {
    **{"prompt": "a teapot", "negative_prompt": "", "seed": 1, "guidance": 7.0, "steps": 2, "scheduler": "DDIM"},
    **{"width": 64, "height": 64, "count": 1, "init_image": None, "strength": 0.5},
}
"""What is entered on the Try it page, but for the base."""


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    settings = Settings(home=tmp_path / "home", owners=Owners.browser)
    prepare_database(settings)
    services = build_services(settings, [cpu()])
    yield services
    services.jobs.close()


def in_a_loop(build: Callable[[], _T]) -> _T:
    """What `build` makes, inside an event loop: without one gradio makes loops that nobody closes."""

    async def made() -> _T:
        return build()

    return asyncio.run(made())


def drawn(build: Callable[[gr.Blocks], _T]) -> _T:
    """A part of the page, drawn on a page of its own, which `build` is given."""

    def draw() -> _T:
        with gr.Blocks() as page:
            return build(page)

    return in_a_loop(draw)


def trained_job(services: Services, owner: str, tiny_model: Path, photo_folder: Path) -> Job:
    """A job with previews, thumbnails and an artifact, as a finished one has."""
    recipe = small_recipe(tiny_model, "textual-inversion")
    job = services.jobs.submitting.submit(owner, recipe, partial(take_prepared, photo_folder))
    root = services.jobs.run_folder(job.id).root
    for name in ("previews/step-000000-0.png", "artifact/learned.safetensors", "photos/thumbs/0001.jpg", "log.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"content of " + name.encode())
    return job


def learnt_concept(services: Services, folder: Path, tiny_model: Path, photo_folder: Path, name: str) -> str:
    """A concept of this name in the library of this machine's only owner; its job."""
    recipe = small_recipe(tiny_model, "textual-inversion", name=name)
    job = services.jobs.submitting.submit(SINGLE_OWNER, recipe, partial(take_prepared, photo_folder))
    services.jobs.cancel(job.id, SINGLE_OWNER)
    made = write_finished_run(folder / job.id, photo_folder, name=name, base=str(tiny_model))
    for part in (made.artifact, made.previews):
        shutil.copytree(part, services.jobs.run_folder(job.id).root / part.name)
    return job.id
