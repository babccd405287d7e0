"""Composes pictures once and keeps their latents, so that the denoiser's training never waits for the autoencoder."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL

from trainer.starter.autoencoder import to_tensor
from trainer.starter.scenes import Composer, Item, Scene

log = logging.getLogger(__name__)
CHUNK = 64
UNNAMED_SHARE = 0.2
TWINS = 4


@dataclass(frozen=True)
class LatentBank:
    """Latents fp16 [pictures, channels, height, width], scaled to unit spread, and what each picture shows."""

    latents: np.ndarray
    scenes: list[Scene]
    scaling_factor: float


def _compose(composer: Composer, rng: np.random.Generator) -> list[tuple[np.ndarray, Scene]]:
    """One chunk: named things, and for a share of it several pictures each of things without a name."""
    made: list[tuple[np.ndarray, Scene]] = []
    while len(made) < CHUNK:
        unnamed = rng.random() < UNNAMED_SHARE / TWINS
        made += composer.compose_unnamed(rng, TWINS) if unnamed else [composer.compose(rng)]
    return made[:CHUNK]


@torch.no_grad()
def build_latents(model: AutoencoderKL, composer: Composer, folder: Path, count: int) -> LatentBank:
    """Compose and encode `count` pictures into `folder`, going on with a bank that is only partly there."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = sorted(folder.glob("latents-*.npz"))
    done = len(parts) * CHUNK * 16
    while done < count:
        part = done // (CHUNK * 16)
        rng = np.random.default_rng((2, part))
        encoded, scenes = [], []
        for _ in range(16):
            made = _compose(composer, rng)
            with torch.autocast("cpu", torch.bfloat16):
                encoder: Any = model
                mean = encoder.encode(to_tensor(np.stack([picture for picture, _ in made]))).latent_dist.mean
            encoded.append(mean.float().numpy().astype(np.float16))
            scenes += [json.dumps(asdict(scene)) for _, scene in made]
        aside = folder / f".latents-{part:04d}.npz"
        np.savez(aside, latents=np.concatenate(encoded), scenes=np.array(scenes))
        aside.replace(folder / f"latents-{part:04d}.npz")
        done += CHUNK * 16
        log.info("latents: %d of %d pictures", done, count)
    return load_latents(folder)


def load_latents(folder: Path) -> LatentBank:
    """The bank of a folder, scaled so that its latents have unit standard deviation."""
    latents, scenes = [], []
    for part in sorted(folder.glob("latents-*.npz")):
        with np.load(part) as stored:
            latents.append(stored["latents"])
            scenes += [_scene(text) for text in stored["scenes"]]
    everything = np.concatenate(latents)
    factor = 1.0 / float(everything[::7].astype(np.float32).std())
    return LatentBank((everything.astype(np.float32) * factor).astype(np.float16), scenes, factor)


def _scene(text: str) -> Scene:
    values = json.loads(text)
    return Scene(values["style"], tuple(Item(**item) for item in values["items"]), values["background"])
