from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.engine.conftest import small_recipe
from trainer.engine.families import open_family
from trainer.engine.preview import Previews
from trainer.engine.sampling import MAX_BATCH, SamplerSettings
from trainer.events import Event
from trainer.run_folder import RunFolder


def test_many_previews_are_drawn_a_few_at_a_time(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[list[int]] = []

    def sample(*_asked: Any, seeds: list[int], **_how: Any) -> list[Image.Image]:
        drawn.append(seeds)
        return [Image.new("RGB", (8, 8), (seed % 256, 0, 0)) for seed in seeds]

    monkeypatch.setattr("trainer.engine.preview.sample", sample)
    recipe = small_recipe(tiny_model, "dreambooth", preview_count=7, preview_every_steps=3)
    family = open_family(tiny_model, device=torch.device("cpu"), dtype=torch.float32)
    run, events = RunFolder(tmp_path / "run"), list[Event]()
    sampler = SamplerSettings()
    Previews(run, recipe, family, events.append, sampler, averaged=nullcontext, stop_requested=lambda: False).make(3)
    assert drawn == [[1000, 1001, 1002, 1003], [1004, 1005, 1006]]
    assert len(drawn[0]) == MAX_BATCH
    for number in range(7):
        with Image.open(run.preview_file(3, number)) as picture:
            assert picture.getpixel((0, 0)) == ((1000 + number) % 256, 0, 0)
    assert len(events) == 1
