"""What the families share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

from trainer.bases import family_of

StockPipeline = StableDiffusionPipeline | StableDiffusionXLPipeline


@dataclass(frozen=True)
class Posterior:
    """The autoencoder's posterior in scaled latent space: mean and std, each fp32 [batch, channels, height, width]."""

    mean: torch.Tensor
    std: torch.Tensor


def stock_pipeline(folder: Path) -> type[StockPipeline]:
    """Diffusers' own pipeline for the model in `folder`."""
    match family_of(folder):
        case "stable-diffusion":
            return StableDiffusionPipeline
        case "stable-diffusion-xl":
            return StableDiffusionXLPipeline
