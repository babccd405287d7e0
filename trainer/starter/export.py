"""Puts the trained parts together as `assets/starter`: fp16, sharded, checked against its size limits."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from transformers import CLIPTokenizer

from trainer.engine.export.pipeline_folder import declare_float32_text_encoders, forget_folders
from trainer.starter.denoiser import TextAndDenoiser, build_scheduler

log = logging.getLogger(__name__)
MAX_SHARD = "8MB"
MAX_TOTAL_BYTES = 32_000_000
MAX_FILE_BYTES = 9_000_000


def export_starter(
    vae: AutoencoderKL, scaling_factor: float, model: TextAndDenoiser, tokenizer_folder: Path, target: Path
) -> None:
    """Write the pipeline to `target`. Raises ValueError where it would be larger than the repository allows."""
    vae.register_to_config(scaling_factor=scaling_factor)
    pipeline_class: Any = StableDiffusionPipeline  # its annotations forbid the None that its documentation offers
    pipeline = pipeline_class(
        vae=vae,
        text_encoder=model.text_encoder,
        tokenizer=CLIPTokenizer.from_pretrained(tokenizer_folder),
        unet=model.unet,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    aside = target.with_name(f".{target.name}")
    shutil.rmtree(aside, ignore_errors=True)
    for part in (pipeline.vae, pipeline.text_encoder, pipeline.unet):
        part.to("cpu", torch.float16, memory_format=torch.contiguous_format)
    pipeline.save_pretrained(aside, max_shard_size=MAX_SHARD)
    shutil.rmtree(aside / "tokenizer")
    shutil.copytree(tokenizer_folder, aside / "tokenizer")
    declare_float32_text_encoders(aside)
    forget_folders(aside)
    sizes = {file: file.stat().st_size for file in aside.rglob("*") if file.is_file()}
    if sum(sizes.values()) > MAX_TOTAL_BYTES or max(sizes.values()) > MAX_FILE_BYTES:
        raise ValueError(f"the starter is too large: {sum(sizes.values())} bytes, largest file {max(sizes.values())}")
    for file in target.glob("*.*"):  # its card, and the pictures in that
        if file.is_file() and not (aside / file.name).exists():
            shutil.copy2(file, aside / file.name)
    shutil.rmtree(target, ignore_errors=True)
    aside.replace(target)
    log.info("%s: %.1f MB", target, sum(sizes.values()) / 1e6)
