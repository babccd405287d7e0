"""The picture that proves a result: in fp32 what the stock pipeline draws, and close to it in half precision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from tests.tiny_models import build_tiny_model, build_tiny_xl_model
from trainer.engine.export.verify import STEPS, draw, open_base

CPU = torch.device("cpu")
ASKED: Any = SimpleNamespace(words_in_diffusers="a teapot", resolution_px=64)


@pytest.mark.parametrize("build", [build_tiny_model, build_tiny_xl_model])
def test_picture_is_the_stock_pipelines_and_a_half_precise_one_is_close_to_it(
    build: Callable[[Path], Path], tmp_path: Path
) -> None:
    pipeline: Any = open_base(build(tmp_path / "model"))
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(
        "a picture of a teapot",
        num_inference_steps=STEPS,
        guidance_scale=3.0,
        height=64,
        width=64,
        generator=torch.Generator("cpu").manual_seed(0),
        output_type="np",
    )
    exact = draw(pipeline, ASKED, CPU, torch.float32)
    assert np.array_equal(exact, made.images[0])
    half = draw(pipeline, ASKED, CPU, torch.bfloat16)
    assert half.dtype == np.float32
    assert 0 < np.abs(half - exact).mean() < 0.05
    assert (pipeline.unet.dtype, pipeline.vae.dtype) == (torch.bfloat16, torch.float32)
