"""A picture to start from is judged by us, in words, and not by gradio."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pillow_heif
import pytest
from gradio.data_classes import ImageData
from PIL import Image

from tests.ui.conftest import PICTURE, drawn
from trainer.errors import RequestError
from trainer.recipe.choices import STARTER
from ui.services import Services
from ui.try_it.handlers import TryHandlers
from ui.try_it.tab import TryTab
from ui.try_it.tried import what_was_tried


def say_of(services: Services, file: Path) -> str:
    """What the page says when this file was put into the field."""
    page, tab = drawn(lambda page: (page, TryTab(services, what_was_tried())))
    field = tab._sampler.init_image
    (change,) = [fn for fn in page.fns.values() if (field._id, "change") in fn.targets]
    assert change.fn is not None
    return str(change.fn(field.preprocess(ImageData(path=str(file), orig_name=file.name))))


@pytest.mark.fault(42, 43)
@pytest.mark.parametrize("name", ["text.png", "text.svg", "bomb.png"])
def test_what_cannot_be_started_from_is_said_and_names_no_folder(services: Services, tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    if name == "bomb.png":
        Image.new("1", (13_000, 13_000)).save(file)
    else:
        file.write_text("no picture")
    with pytest.raises(gr.Error, match=r"The picture to start from (is not a photo|has too many pixels)") as said:
        say_of(services, file)
    assert str(tmp_path) not in str(said.value)
    asked = {**PICTURE, "base": STARTER, "init_image": str(file)}
    with pytest.raises(RequestError, match="The picture to start from"):
        TryHandlers(services).request([], [], asked, "anna")


def test_photo_of_a_phone_is_a_picture_to_start_from(services: Services, tmp_path: Path) -> None:
    file = tmp_path / "photo.heic"
    pillow_heif.from_pillow(Image.new("RGB", (64, 64), "red")).save(file)
    assert say_of(services, file).startswith("Starts from your picture")
    asked = {**PICTURE, "base": STARTER, "init_image": str(file)}
    assert TryHandlers(services).request([], [], asked, "anna").init_image == file


def test_empty_field_starts_from_nothing(services: Services) -> None:
    tab = drawn(lambda _: TryTab(services, what_was_tried()))
    assert tab._sampler.init_image.preprocess(None) is None
