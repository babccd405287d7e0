"""Artifacts as a stranger would open them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from trainer.run_folder import MANIFEST_FILE, RunFolder


def files_in(folder: Path) -> set[str]:
    return {f.relative_to(folder).as_posix() for f in folder.rglob("*") if f.is_file()}


def plain_pipeline(run: RunFolder, base: Path) -> StableDiffusionPipeline:
    """As a stranger would open it: stock diffusers, no dtype, none of our code."""
    manifest = json.loads((run.artifact / MANIFEST_FILE).read_text())
    source = run.artifact if manifest["method"] == "dreambooth" else base
    pipeline = StableDiffusionPipeline.from_pretrained(source, safety_checker=None)
    if manifest["method"] == "textual-inversion":
        pipeline.load_textual_inversion(str(run.artifact / "learned_embeds.safetensors"))
    if manifest["method"] == "dreambooth-lora":
        pipeline.load_lora_weights(str(run.artifact))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def picture(pipeline: StableDiffusionPipeline, words: str) -> np.ndarray:
    made: Any = pipeline(
        words, num_inference_steps=2, height=64, width=64, output_type="np", generator=torch.manual_seed(0)
    )
    return made.images[0]
