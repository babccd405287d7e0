"""Encodes the pictures once, so that the denoiser's training never waits for the autoencoder."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL

from trainer.starter.autoencoder import to_tensor
from trainer.starter.pictures import read_pictures, read_scenes
from trainer.starter.scenes import Scene

log = logging.getLogger(__name__)
CHUNK = 128


@dataclass(frozen=True)
class LatentBank:
    """Latents fp16 [pictures, channels, height, width], scaled to unit spread, and what each picture shows."""

    latents: np.ndarray
    scenes: list[Scene]
    scaling_factor: float


def build_latents(model: AutoencoderKL, parts: list[Path], folder: Path) -> LatentBank:
    """The bank of all `parts`, scaled so that its latents have unit standard deviation; kept in `folder` by part."""
    folder.mkdir(parents=True, exist_ok=True)
    latents, scenes = [], []
    for part in parts:
        kept = folder / part.with_suffix(".npy").name
        if not kept.exists():
            aside = folder / f".{kept.name}"
            np.save(aside, _encoded(model, read_pictures(part)))
            aside.replace(kept)
            log.info("latents: %s", kept.name)
        latents.append(np.load(kept))
        scenes += read_scenes(part)
    everything = np.concatenate(latents)
    factor = 1.0 / float(everything[::7].astype(np.float32).std())
    return LatentBank((everything.astype(np.float32) * factor).astype(np.float16), scenes, factor)


@torch.no_grad()
def _encoded(model: AutoencoderKL, pictures: np.ndarray) -> np.ndarray:
    encoder: Any = model
    device = next(model.parameters()).device
    means = []
    for start in range(0, len(pictures), CHUNK):
        chunk = to_tensor(torch.from_numpy(pictures[start : start + CHUNK]).to(device))
        with torch.autocast(device.type, torch.bfloat16):
            means.append(encoder.encode(chunk).latent_dist.mean)
    return torch.cat(means).to("cpu", torch.float16).numpy()
