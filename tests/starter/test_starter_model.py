"""What is committed as assets/starter and assets/examples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from jobs.example import Example, find_examples
from trainer.bases import STARTER_FOLDER, inspect_base, knows_word
from trainer.photos.checkup import SetVerdict
from trainer.photos.intake import take_folder
from trainer.starter.sources import load_things

FILES = [file for file in STARTER_FOLDER.rglob("*") if file.is_file()]


def test_starter_is_small_enough_for_a_repository() -> None:
    sizes = [file.stat().st_size for file in FILES]
    assert sum(sizes) <= 32_000_000
    assert max(sizes) <= 9_000_000
    assert json.loads((STARTER_FOLDER / "text_encoder" / "config.json").read_text())["dtype"] == "float32"
    assert not [file for file in FILES if file.suffix == ".json" and "_name_or_path" in file.read_text()]


def test_plain_diffusers_makes_a_picture_with_it() -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(STARTER_FOLDER)
    pipeline.set_progress_bar_config(disable=True)

    def background(colour: str) -> np.ndarray:
        prompt = f"a sticker of an apple on a {colour} background"
        seed = torch.Generator().manual_seed(1)
        picture = pipeline(prompt, num_inference_steps=12, guidance_scale=4.0, generator=seed).images[0]
        assert picture.size == (128, 128)
        pixels = np.asarray(picture, np.float32)
        assert pixels.std() > 5
        corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]]
        return np.median(corners, axis=0)

    red, _, blue = background("yellow")
    assert red > blue + 80
    red, _, blue = background("blue")
    assert blue > red + 80


def test_it_is_recognized_as_the_starter_and_knows_what_it_was_taught() -> None:
    traits = inspect_base(STARTER_FOLDER)
    assert (traits.starter, traits.resolution_px, traits.prediction) == (True, 128, "v_prediction")
    assert all(knows_word(STARTER_FOLDER, word) for word in ("apple", "cat", "sticker", "purple"))
    assert not knows_word(STARTER_FOLDER, "teapot")


def test_things_are_held_out_of_its_training() -> None:
    held_out = [thing.noun for thing in load_things() if thing.held_out]
    assert len(held_out) >= 30
    assert {"teapot", "fox", "robot", "wizard"} <= set(held_out)


@pytest.mark.parametrize("example", find_examples(), ids=lambda e: e.title)
def test_example_photos_are_ready_to_train(example: Example, tmp_path: Path) -> None:
    taken = take_folder(example.folder, tmp_path)
    assert len(taken.usable) == len(example.photos) >= 5
    assert taken.report.verdict is SetVerdict.ready
